/*
  Where stolen things are sent, together with what is stolen. A word alone is never enough: clean code is full of them.
  Every rule needs `description` in its meta: it is the finding's message.
*/

rule discord_webhook_harvest
{
  meta:
    description = "A Discord webhook stands beside code that collects facts about the user or the machine."
  strings:
    $hook = /discord(app)?\.com\/api\/webhooks\/[0-9]{10,25}\/[A-Za-z0-9_-]{20,100}/ nocase
    $host1 = "gethostname("
    $host2 = "getpass.getuser("
    $host3 = "os.getlogin("
    $host4 = "platform.node("
    $host5 = /dict\(\s{0,4}os\.environ\s{0,4}\)/
    $host6 = "api.ipify.org"
    $host7 = "ip-api.com/json"
    $host8 = "ipinfo.io"
    $host9 = "\\Local Storage\\leveldb"
    $host10 = "Login Data"
    $host11 = "COMPUTERNAME"
    $send = /(requests|httpx|session)\.post|urlopen|Webhook|SyncWebhook|aiohttp|\.request\(/
  condition:
    $hook and $send and 2 of ($host*)
}

rule telegram_harvest
{
  meta:
    description = "A Telegram bot's token stands beside code that collects facts about the user or the machine."
  strings:
    $bot = /api\.telegram\.org\/bot[0-9]{6,12}:[A-Za-z0-9_-]{30,40}/
    $token = /["'][0-9]{8,12}:AA[A-Za-z0-9_-]{33}["']/
    $api = "api.telegram.org/bot"
    $host1 = "gethostname("
    $host2 = "getpass.getuser("
    $host3 = "os.getlogin("
    $host4 = "platform.node("
    $host5 = /dict\(\s{0,4}os\.environ\s{0,4}\)/
    $host6 = "api.ipify.org"
    $host7 = "ip-api.com/json"
    $host8 = "Login Data"
    $host9 = "tdata"
    $host10 = "COMPUTERNAME"
  condition:
    ($bot or ($token and $api)) and 2 of ($host*)
}

rule callback_host_with_host_data
{
  meta:
    description = "Facts about the machine stand beside the address of a service that records who calls it."
  strings:
    $callback1 = /[a-z0-9]{8,40}\.(oast\.(fun|live|me|online|pro|site)|oastify\.com|interact\.sh|burpcollaborator\.net|dnslog\.cn)/
    $callback2 = /webhook\.site\/[0-9a-f]{8}-[0-9a-f]{4}/
    $callback3 = /[a-z0-9]{8,30}\.(m\.pipedream\.net|requestcatcher\.com|requestbin\.net|ngrok\.io|ngrok-free\.app|lhr\.life)/
    $callback4 = /canarytokens\.(com|org)\/[a-z0-9\/]{10,60}/
    $host1 = "gethostname("
    $host2 = "getpass.getuser("
    $host3 = "os.getlogin("
    $host4 = "platform.node("
    $host5 = "os.environ"
    $host6 = "os.getcwd("
    $host7 = "whoami"
    $host8 = "getfqdn("
    $send = /requests\.(get|post)|urlopen|HTTPS?Connection|gethostbyname|getaddrinfo|curl |wget |nslookup |\.connect\(/
  condition:
    any of ($callback*) and $send and any of ($host*)
}
