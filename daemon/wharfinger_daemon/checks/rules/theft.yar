/* What is stolen: passwords of browsers, tokens, coins. */

rule browser_credential_theft
{
  meta:
    description = "Passwords that browsers store are decrypted, beside code that sends something away."
  strings:
    $store = /["'\\\/]Login Data["'\\\/]?/
    $state = "Local State"
    $key = "encrypted_key"
    $decrypt1 = "CryptUnprotectData"
    $decrypt2 = "AES.MODE_GCM"
    $query = /SELECT [^\n]{0,60}password_value/ nocase
    $send = /requests\.post|urlopen\(|webhook|api\.telegram\.org|smtplib|sendall\(|gofile\.io|anonfiles|transfer\.sh/ nocase
  condition:
    $store and $state and $key and any of ($decrypt*) and $query and $send
}

rule discord_token_theft
{
  meta:
    description = "Discord tokens are searched for in the storage of browsers and clients."
  strings:
    $pattern1 = "[\\w-]{24}\\.[\\w-]{6}\\.[\\w-]{27}"
    $pattern2 = "[\\w-]{26}\\.[\\w-]{6}\\.[\\w-]{38}"
    $pattern3 = "dQw4w9WgXcQ:[^.*\\['(.*)'\\].*$][^\\\"]*"
    $pattern4 = "mfa\\.[\\w-]{84}"
    $store1 = /Local Storage[\\\/]{1,4}leveldb/
    $store2 = "discordcanary" nocase
    $store3 = "Lightcord" nocase
  condition:
    any of ($pattern*) and any of ($store*)
}

rule clipboard_wallet_clipper
{
  meta:
    description = "The clipboard is watched for addresses of crypto wallets and overwritten."
  strings:
    $read = /pyperclip\.paste\(|GetClipboardData\(|clipboard_get\(|Get-Clipboard/
    $write = /pyperclip\.copy\(|SetClipboardData\(|SetClipboardText\(|clipboard_append\(|Set-Clipboard/
    $wallet1 = /\(?bc1\|\[13\]\)?|\[13\]\[a-km-zA-HJ-NP-Z/
    $wallet2 = /0x\[a-fA-F0-9\]\{40\}|\(0x\)\[0-9A-Fa-f\]\{40\}/
    $wallet3 = /\[48\]\[0-9AB\]\[1-9A-HJ-NP-Za-km-z\]\{93\}/
    $wallet4 = /T\[A-Za-z1-9\]\{33\}|D\{1\}\[5-9A-HJ-NP-U\]/
    $address = /["'](bc1q[02-9ac-hj-np-z]{38}|0x[0-9a-fA-F]{40}|T[1-9A-HJ-NP-Za-km-z]{33})["']/
    $loop = "while True"
  condition:
    $read and $write and $loop and (2 of ($wallet*) or (any of ($wallet*) and $address))
}
