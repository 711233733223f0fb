hostname = "mx1 example"
data-dir = 1
max-message-size = "3 GiB"
max-connections = 0
max-connections-per-address = -1
max-recipients = 10.5
domain-dir = "domains"

[[listener]]
address = "25"

[[listener]]
address = "[::]:2525"

[[listener]]
address = "[::]:2525"
tls = true

[tls]
certificate = "cert.pem"

[admin]
listen = "[::]:2525"
token-file = ["a"]

[plugins.rspamd]
grant = "everything"
memory = "64"
time = "an hour"

[plugins."../rspamd"]

[[chain]]
isolation = "domain"

[[chain]]
use = "policy.wasm"

---
next-hop = "a.example:25"
plugins = "tag"

[config.tag]
a = 1
