/* How hidden code is brought to run, and how a stranger gets a shell. */

rule encoded_powershell_from_python
{
  meta:
    description = "Python starts PowerShell with an encoded command."
  strings:
    $command = /powershell(\.exe)?[^\n]{0,120}-e(c|nc|ncodedcommand)?['", \t]{1,6}[A-Za-z0-9+\/]{40,2000}/ nocase
    $start1 = "subprocess"
    $start2 = "os.system"
    $start3 = "popen"
    $start4 = "ShellExecute"
  condition:
    $command and any of ($start*)
}

rule reverse_shell_idiom
{
  meta:
    description = "A shell is tied to a network connection."
  strings:
    $socket = /socket\.socket\(|create_connection\(/
    $dup = /os\.dup2\(\s{0,4}[A-Za-z_][A-Za-z0-9_]{0,30}\.fileno\(\)/
    $shell1 = /pty\.spawn\(\s{0,4}["'\[]/
    $shell2 = /["']\/bin\/(ba|z|da)?sh["']/
    $bash = /bash -i[^\n]{0,20}\/dev\/tcp\/[^\n]{3,60}/
    $netcat = /\bnc(at)? [^\n]{0,40}-e \/bin\/(ba)?sh/
    $start = /os\.system\(|subprocess\.|popen\(/
  condition:
    ($socket and #dup >= 2 and any of ($shell*)) or ($start and ($bash or $netcat))
}

rule named_obfuscator
{
  meta:
    description = "The mark of an obfuscator that malware uses stands beside an executed blob."
  strings:
    $mark1 = /BlankOBF|Blank-c\/BlankOBF/
    $mark2 = /class Kramer\(|kramer-specter|billythegoat356/ nocase
    $mark3 = /from builtins import \*type|Hyperion\b[^\n]{0,40}obfusc/ nocase
    $mark4 = /wasp-stealer|W4SP[- _]?(Stealer|Grabber|Crew)/ nocase
    $mark5 = /obfuscated (by|with|using) (pyobfuscate|py-fuscate|development-tools|freecodingtools|pyob|intensio)/ nocase
    $mark6 = /pyobfuscate\.com|development-tools\.net\/python-obfuscator|freecodingtools\.org/ nocase
    $execute = /\b(exec|eval|__import__)\s{0,4}\(/
    $blob1 = /[A-Za-z0-9+\/=]{400,800}/
    $blob2 = /(\\x[0-9a-fA-F]{2}){60,80}/
    $blob3 = /(\d{1,3}, ?){150,200}/
  condition:
    any of ($mark*) and $execute and any of ($blob*)
}

rule off_screen_code
{
  meta:
    description = "Code that runs something stands far to the right, where no editor shows it."
  strings:
    $hidden = /\S[ \t]{150,2000};?[ \t]{0,20}[^\s#][^\n]{0,300}(exec|eval|__import__|os\.system|subprocess\.\w{1,20}|urlopen|requests\.get)[ \t]{0,4}\(/
  condition:
    $hidden and (member endswith ".py" or member endswith ".pyw" or member endswith ".pth")
}
