/*
  Signals: what malware has much more often than clean packages, and clean packages have, too. No signal calls an
  administrator by itself; the scorecard adds them up. Tests, examples and documentation are left out.
*/

private rule program
{
  condition:
    (member endswith ".py" or member endswith ".pyw" or member endswith ".pth")
    and not member matches /(^|\/)(tests?|testing|docs?|examples?|samples?|benchmarks?|tutorials?|_?vendor(ed)?)\/|\/(test_[^\/]{0,200}|conftest)\.py$/
}

private rule setup_program
{
  condition:
    member matches /^([^\/]{1,200}\/)?setup\.py$/
}

rule setup_host_facts
{
  meta:
    description = "A setup.py asks who the user is, or what the machine is called."
  strings:
    $fact1 = "gethostname("
    $fact2 = "platform.node("
    $fact3 = "getpass.getuser("
    $fact4 = "os.getlogin("
    $fact5 = "whoami"
    $fact6 = "getfqdn("
    $fact7 = "COMPUTERNAME"
  condition:
    setup_program and any of them
}

rule setup_encoded_literal
{
  meta:
    description = "A setup.py holds a long text of base64."
  strings:
    $literal = /["'][A-Za-z0-9+\/=_-]{400,600}/
  condition:
    setup_program and $literal
}

rule setup_raw_socket
{
  meta:
    description = "A setup.py connects a socket."
  strings:
    $connect = /\.connect(_ex)?\(\s{0,4}\(/
  condition:
    setup_program and $connect
}

rule setup_silenced_errors
{
  meta:
    description = "A setup.py silences every error of something that it tries."
  strings:
    $silence = /except( Exception)?( as \w{1,20})?:\s{1,40}pass\b/
  condition:
    setup_program and $silence
}

rule setup_research_claim
{
  meta:
    description = "A setup.py says that it is a proof of concept, or research into dependency confusion."
  strings:
    $claim = /dependency.confusion|bug.?bounty|security.research|proof.of.concept|hackerone|bugcrowd|ethical/ nocase
  condition:
    setup_program and $claim
}

rule setup_imported_by_call
{
  meta:
    description = "A setup.py imports by calling __import__."
  strings:
    $import = /__import__\s{0,4}\(/
  condition:
    setup_program and $import
}

rule hard_coded_webhook
{
  meta:
    description = "The whole address of a Discord webhook, with its token, stands in the code."
  strings:
    $hook = /discord(app)?\.com\/api\/webhooks\/[0-9]{16,22}\/[A-Za-z0-9_-]{40,100}/ nocase
  condition:
    program and $hook
}

rule hard_coded_bot_token
{
  meta:
    description = "The token of a Telegram bot stands in the code."
  strings:
    $token = /\b[0-9]{8,12}:AA[A-Za-z0-9_-]{30,36}/
  condition:
    program and $token
}

rule callback_host
{
  meta:
    description = "The code has the address of a service that records who calls it, as penetration testers use them."
  strings:
    $host1 = /[a-z0-9]{8,63}\.oast\.(fun|live|me|online|pro|site)/
    $host2 = /[a-z0-9]{8,63}\.(oastify\.com|interact\.sh|burpcollaborator\.net|dnslog\.cn|ceye\.io|bxss\.me)/
    $host3 = /canarytokens\.(com|org)\/[a-z0-9\/]{10,60}/
  condition:
    program and any of them
}

rule request_recorder
{
  meta:
    description = "The code has the address of a tunnel, or of a service that keeps requests for later."
  strings:
    $site = /webhook\.site\/[0-9a-f]{8}-[0-9a-f]{4}/
    $host = /[a-z0-9-]{4,63}\.(m\.pipedream\.net|requestcatcher\.com|requestbin\.(net|com)|ngrok\.(io|app|dev)|ngrok-free\.(app|dev)|serveo\.net|trycloudflare\.com|beeceptor\.com|lhr\.life|loca\.lt)/
  condition:
    program and any of them
}

rule address_lookup
{
  meta:
    description = "The code asks a service for the public address of the machine."
  strings:
    $host = /api\.ipify\.org|ip-api\.com|ipinfo\.io|ifconfig\.(me|co)\b|icanhazip|checkip\.amazonaws|ipapi\.co\b/
  condition:
    program and $host
}

rule numeric_address
{
  meta:
    description = "The code has a URL whose host is a public IPv4 address."
  strings:
    // The first number leaves out 0, 1, 8, 10, 127, 169, 172, 192, 198 and 203: private, reserved or documented.
    $url = /https?:\/\/([2-79]|1[1-9]|[2-9]\d|1[013458]\d|12[0-689]|16[0-8]|17[013-9]|19[013-79]|20[0-24-9]|2[1-4]\d|25[0-5])(\.\d{1,3}){3}[:\/"']/
  condition:
    program and $url
}

rule payload_host
{
  meta:
    description = "The code has the address of a file on a paste or sharing service, or of a program in a repository."
  strings:
    $paste = /pastebin\.com\/raw|rentry\.co\/|hastebin|paste\.ee\/|ghostbin|controlc\.com|bashupload|termbin\.com/
    $shared = /transfer\.sh|(api|store\d{1,3})\.gofile\.io|anonfiles|files\.catbox\.moe|(cdn|media)\.discordapp\.(com|net)\/attachments/
    $program = /raw\.githubusercontent\.com\/[^\n"']{5,120}\.(exe|bat|ps1|vbs|dll|scr|pyw)\b|github\.com\/[^\n"']{5,80}\/raw\/[^\n"']{3,80}\.(exe|bat|ps1|vbs|dll|scr)\b|releases\/download\/[^\n"']{3,80}\.(exe|bat|ps1|scr)\b/
  condition:
    program and any of them
}

rule startup_entry
{
  meta:
    description = "The code names the places where Windows looks for what it starts at log-in."
  strings:
    $folder = /Start Menu[\\\/]{1,4}Programs[\\\/]{1,4}Startup/ nocase
    $key = /CurrentVersion\\{1,4}Run\b/ nocase
  condition:
    program and any of them
}

rule temporary_program
{
  meta:
    description = "A program in a folder for temporary or application data is fetched and started."
  strings:
    $place = /(TEMP|APPDATA|gettempdir\(\)|Public)[^\n]{0,80}\.(exe|bat|ps1|vbs|pyw|dll|scr)\b/ nocase
    $fetch = /requests\.get|urlopen|urlretrieve|Invoke-WebRequest|DownloadFile|curl |wget/
    $start = /subprocess\.|os\.system|startfile|popen\(|ShellExecute/
  condition:
    program and all of them
}

rule encoded_program
{
  meta:
    description = "A long text of base64 stands beside the execution of something that is decoded."
  strings:
    $literal = /["'][A-Za-z0-9+\/=_-]{400,600}/
    $run = /\b(exec|eval|compile|__import__|getattr)\s{0,4}\(|subprocess\.|os\.system|startfile/
    $decode = /b64decode|b32decode|b85decode|decompress|Fernet|marshal|decrypt|\[::-1\]/
  condition:
    program and all of them
}

rule escaped_program
{
  meta:
    description = "A long run of escaped bytes stands beside exec."
  strings:
    $literal = /(\\x[0-9a-fA-F]{2}){60,80}/
    $run = /\b(exec|eval)\s{0,4}\(/
  condition:
    program and all of them
}

rule look_alike_names
{
  meta:
    description = "Many names are made of letters and digits that look alike."
  strings:
    $name = /\b_{0,4}[IlO][Il1O0]{8,40}\b/
  condition:
    program and #name > 20
}

rule off_screen_text
{
  meta:
    description = "More than 120 blanks stand in the middle of a line, and what follows is no comment."
  strings:
    $hidden = /[;:)][ \t]{120,2000}[A-Za-z_][^\n]{3,10}/
  condition:
    program and $hidden
}

rule hidden_window
{
  meta:
    description = "The code starts something in a window that is not shown, and uses the network."
  strings:
    $hidden = /CREATE_NO_WINDOW|SW_HIDE|0x08000000|-w(indowstyle)?\s{1,4}h(idden)?\b/ nocase
    $network = /requests\.(get|post)|urlopen|urlretrieve|socket\.socket\(/
  condition:
    program and all of them
}

rule screen_capture_sent
{
  meta:
    description = "Keys or the screen are recorded beside code that sends something away."
  strings:
    $record1 = /ImageGrab\.grab|pyautogui\.screenshot|mss\.mss\(/
    $record2 = /pynput|keyboard\.(on_press|on_release|hook)\(|GetAsyncKeyState/
    $send = /requests\.post|webhook|api\.telegram\.org|sendall\(|smtplib|send_photo/ nocase
  condition:
    program and any of ($record*) and $send
}

rule accounts_in_reach
{
  meta:
    description = "The code names the files in which several programs keep passwords, cookies or wallets."
  strings:
    $browser = /Login Data|CryptUnprotectData|cookies\.sqlite|User Data[\\\/]{1,4}Default/ nocase
    $chat = /discordcanary|discordptb|Local Storage[\\\/]{1,4}leveldb|tdata\b/ nocase
    $wallet = /\b(metamask|exodus|wallet\.dat|electrum|atomic[\\\/]{1,4}Local|nkbihfbeogaeaoehlefnkodbefgpgknn)/ nocase
  condition:
    program and 2 of them
}

rule renamed_builtins
{
  meta:
    description = "Several builtins, exec among them, get other names in one assignment, as obfuscators write it."
  strings:
    $first = /[A-Za-z_]\w{0,40},[^\n=]{3,200}=[ \t]{0,4}\(?(exec|eval),[ \t]{0,4}(str|tuple|map|ord|globals|type|chr|int|bytes|compile|getattr)\b/
    $later = /[A-Za-z_]\w{0,40},[^\n=]{3,200}=[ \t]{0,4}\(?((str|tuple|map|ord|globals|type|chr|int|bytes|compile|getattr),[ \t]{0,4}){1,8}(exec|eval)\b/
  condition:
    program and any of them
}

rule protected_code
{
  meta:
    description = "The module is encrypted by PyArmor or SourceDefender, so that nobody can read what it does."
  strings:
    $armor = /__pyarmor__\s{0,4}\(\s{0,4}__name__/
    $defender = "-----BEGIN PYE1 FILE-----"
  condition:
    program and any of them
}

rule spawned_import
{
  meta:
    description = "Another interpreter is started with -c, to import something there."
  strings:
    $spawn = /(Popen|run|call|check_call|check_output)\(\s{0,8}\[\s{0,8}(["']python[0-9.]{0,4}["']|sys\.executable),\s{0,8}["']-c["'],\s{0,8}f?["'][^\n]{0,80}import /
  condition:
    program and $spawn
}

rule cookies_sent
{
  meta:
    description = "Cookies of browsers are read beside code that sends something away."
  strings:
    $read = /browser_cookie3\.|\.ROBLOSECURITY|rookiepy\./
    $send = /requests\.post|webhook|api\.telegram\.org/ nocase
  condition:
    program and all of them
}
