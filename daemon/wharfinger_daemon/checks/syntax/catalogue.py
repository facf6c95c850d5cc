"""What known functions do, by their dotted names; and what is suspicious in a command line.

The names are those that ``interpreter`` derives: ``module.function``, and ``module.Class().method`` for what a call
returned.
"""

from __future__ import annotations

import re

from wharfinger_daemon.checks.syntax.folding import DECODERS

EXECUTORS = frozenset(
    {
        "builtins.exec",
        "builtins.eval",
        "builtins.execfile",
        "types.FunctionType",
        "code.interact",
        "code.InteractiveInterpreter().runcode",
        "code.InteractiveInterpreter().runsource",
        "timeit.timeit",
        "runpy.run_path",
    }
)
"""Run the code that they are given."""

CODE_MAKERS = frozenset({"builtins.compile", "ast.parse", "types.CodeType", "dill.loads", "cloudpickle.loads"})
"""Their result is code when it is executed; it has the content of what they were given."""

DECODER_NAMES = DECODERS | {
    "marshal.loads",
    "marshal.load",
    "codecs.decode",
    "base64.decode",
    "quopri.decodestring",
    "uu.decode",
    "rsa.decrypt",
    "cryptography.fernet.Fernet().decrypt",
}
DECODER_METHODS = frozenset({"decrypt", "decrypt_and_verify"})
"""Methods that decode whatever object they belong to."""

PROCESSES = frozenset(
    {
        "os.system",
        "os.popen",
        "os.popen2",
        "os.popen3",
        "os.startfile",
        "os.posix_spawn",
        "os.posix_spawnp",
        "pty.spawn",
        "commands.getoutput",
        "commands.getstatusoutput",
        "subprocess.run",
        "subprocess.call",
        "subprocess.Popen",
        "subprocess.check_call",
        "subprocess.check_output",
        "subprocess.getoutput",
        "subprocess.getstatusoutput",
        "asyncio.create_subprocess_exec",
        "asyncio.create_subprocess_shell",
        "ctypes.windll.shell32.ShellExecuteA",
        "ctypes.windll.shell32.ShellExecuteW",
        "platform.popen",
        *(f"os.{kind}{suffix}" for kind in ("spawn", "exec") for suffix in ("l", "le", "lp", "lpe", "v", "ve", "vp")),
    }
)
"""Start a program."""

HOST_FACTS = frozenset(
    {
        "socket.gethostname",
        "socket.getfqdn",
        "platform.node",
        "getpass.getuser",
        "os.getlogin",
        "uuid.getnode",
        "pwd.getpwuid",
        "os.getcwd",
    }
)
"""Return who or where the user is."""

IMPORTERS = frozenset({"builtins.__import__", "importlib.import_module", "importlib.__import__"})
RUNNERS = frozenset(
    {
        "threading.Thread",
        "threading.Timer",
        "multiprocessing.Process",
        "_thread.start_new_thread",
        "atexit.register",
        "concurrent.futures.ThreadPoolExecutor().submit",
        "builtins.map",
        "asyncio.to_thread",
    }
)
"""Call the functions that they are given."""

_NETWORK = re.compile(
    r"""
    (?: requests | httpx | requests\.(?:sessions\.)?Session\(\) | httpx\.(?:Async)?Client\(\) )
        \. (?: get | post | put | patch | request | head | delete )
    | aiohttp\.ClientSession\(\)\.(?: get | post | put | request )
    | (?: urllib\.request | urllib2 | urllib | six\.moves\.urllib\.request ) \. (?: urlopen | urlretrieve )
    | urllib\.request\.(?:build_opener|OpenerDirector)\(\)\.open
    | http\.client\.HTTPS?Connection\(\)\.(?: request | connect )
    | urllib3\.(?:PoolManager\(\)\.(?: request | urlopen )|request)
    | socket\.(?: socket\(\)\.(?: connect | connect_ex | sendto ) | create_connection )
    | (?: tls_client\.Session\(\) | cloudscraper\.create_scraper\(\) | curl_cffi\.requests ) \. (?: get | post )
    | (?: discord | nextcord | disnake ) \. (?: Sync )? Webhook (?: \.from_url | \.partial )? \(\)\.send
    | dhooks\.Webhook\(\)\.send | discord_webhook\.DiscordWebhook\(\)\.execute
    | telebot\.TeleBot\(\)\.send_\w+ | websocket\.create_connection
    | wget\.download | ftplib\.FTP\(\)\.\w+ | smtplib\.SMTP(?:_SSL)?\(\)\.send\w+ | pycurl\.Curl\(\)\.perform
    """,
    re.VERBOSE,
)
SAVERS = frozenset({"urllib.request.urlretrieve", "urllib.urlretrieve", "wget.download"})
"""Download to a file, named by the second argument."""

KEY_NAMES = re.compile(
    r"_*(?:private_?keys?|priv_?key|pvt_?key|mnemonics?|(?:seed|secret|recovery)_?(?:phrases?|words?)|seed_words?)",
    re.IGNORECASE,
)
"""Names of what moves somebody's coins."""

KEY_USERS = re.compile(
    r"(?:hmac|hashlib)\..*|.*(?:sign|verify|encrypt|hash|digest|len|isinstance|bool|pem|ssh).*", re.IGNORECASE
)
"""Calls whose result does not give a key away."""

IP_LOOKUPS = re.compile(
    r"api\.ipify\.org|ip-api\.com|ipinfo\.io|ifconfig\.(?:me|co)|icanhazip\.com|checkip\.amazonaws|ident\.me|ipapi\.co"
)
"""Services that tell callers their own address."""

HOST_VARIABLES = frozenset({"USERNAME", "USER", "LOGNAME", "COMPUTERNAME", "HOSTNAME", "USERDOMAIN", "USERPROFILE"})

SENDERS = frozenset({"socket.socket().send", "socket.socket().sendall", "socket.socket().sendto"})
LOOKUPS = frozenset({"socket.gethostbyname", "socket.getaddrinfo", "socket.gethostbyname_ex", "dns.resolver.resolve"})

LOOPBACK = re.compile(r"(?:^|//|@|\s)(?:localhost|127(?:\.\d+){3}|\[?::1\]?|0\.0\.0\.0)(?:[:/\s]|$)")
DOMAIN = re.compile(
    r"\.[a-z0-9-]+\.[a-z]{2,}|[a-z0-9-]+\.(?:com|net|org|io|fun|site|me|pro|live|online|xyz)\b", re.IGNORECASE
)

SECRET_FILES = re.compile(
    r"\.ssh[/\\]|id_rsa|id_ed25519|\.aws[/\\]credentials|\.pypirc|\.npmrc|\.netrc|\.git-credentials|/etc/shadow|"
    r"/etc/passwd|\.docker/config\.json|\.kube/config|Login Data|Local State|leveldb|wallet\.dat|\.config/gcloud",
    re.IGNORECASE,
)

HARVESTING_COMMANDS = re.compile(
    r"^\W*(?:whoami|hostname|id|env|printenv|uname -a|ifconfig|ipconfig|systeminfo|cat /etc/passwd)\b", re.IGNORECASE
)

SUSPICIOUS_COMMANDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"\b(?:powershell|pwsh)\b.*(?:\s-e(?:nc?|c|ncodedcommand)?\s+\S{16}|frombase64string)",
            re.IGNORECASE | re.DOTALL,
        ),
        "an encoded PowerShell command",
    ),
    (
        re.compile(
            r"\b(?:powershell|pwsh)\b.*(?:downloadstring|downloadfile|invoke-webrequest|\biwr\b|\biex\b|"
            r"invoke-expression|start-bitstransfer|-w(?:indowstyle)?\s+hidden)",
            re.IGNORECASE | re.DOTALL,
        ),
        "PowerShell that downloads, evaluates or hides",
    ),
    (
        re.compile(r"\b(?:curl|wget|fetch)\b.*\|\s*(?:sudo\s+)?(?:ba|z|da|k)?sh\b", re.DOTALL),
        "a download piped to a shell",
    ),
    (
        re.compile(r"\bbase64\s+(?:-d|-D|--decode)\b.*\|\s*(?:\w*sh|python\d?)\b", re.DOTALL),
        "decoded text piped to a shell",
    ),
    (re.compile(r"/dev/tcp/|\bnc(?:at)?\b.*\s-e\b|\bbash\s+-i\b.*[>&]"), "a reverse shell"),
    (
        re.compile(
            r"\b(?:mshta|bitsadmin|regsvr32|certutil)\b.*(?:https?:|-urlcache|/transfer|-decode|/i:)",
            re.IGNORECASE | re.DOTALL,
        ),
        "a system tool that is used to download or run code",
    ),
    (
        re.compile(r"\bschtasks\b.*/create|\breg\s+add\b.*\\run\b|\bcrontab\s+-", re.IGNORECASE | re.DOTALL),
        "persistence",
    ),
    (
        re.compile(
            r"\b(?:curl|wget)\b.*https?://.*(?:&&|;|\|\|)\s*(?:chmod|\./|ba?sh|python|start)\b",
            re.IGNORECASE | re.DOTALL,
        ),
        "a download that is then run",
    ),
)
NETWORK_COMMANDS = re.compile(r"\b(?:curl|wget)\b.*https?://", re.IGNORECASE | re.DOTALL)
PROGRAM_FILES = re.compile(
    r"(?<![\w-])(?!(?:cmd|git|python\w?|powershell|msbuild|cl|link|nmake|cmake|nvcc|where|taskkill|vswhere|vcvars\w*|"
    r"make|gcc|conda|pip|reg|setup)\.)[\w-]+\.(?:exe|bat|cmd|vbs|ps1|scr|pyw?)(?![\w.])",
    re.IGNORECASE,
)
"""Files that are programs, but for the tools that builds use."""
PACKAGE_INSTALLS = re.compile(r"\bpip3?\b.*\binstall\b", re.DOTALL)

# Folders whose modules nobody imports in use: programs that talk to the network are at home there.
QUIET_FOLDERS = frozenset(
    [
        "test",
        "tests",
        "testing",
        "_tests",
        "example",
        "examples",
        "doc",
        "docs",
        "benchmark",
        "benchmarks",
        "bench",
        "sample",
        "samples",
        "script",
        "scripts",
        "tool",
        "tools",
        "ci",
        ".github",
        "notebooks",
        "demo",
        "demos",
        "contrib",
        "integration_tests",
        "e2e",
        "tutorials",
        "recipes",
        "bin",
    ]
)


def is_network(path: str) -> bool:
    """The function talks to the network; what it returns came from there."""
    return _NETWORK.fullmatch(path) is not None
