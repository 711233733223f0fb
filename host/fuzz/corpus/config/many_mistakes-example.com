hostnme = "mx1.example.net"
max-message-size = "50 MB or so"
max-connections = "10000"

[[listener]]
adress = "[::]:25"
tls = "optinal"

[admin]
listen = "localhost"
max-recipients = 5

[plugins.greylist]
grant = ["dsn"]

---
accept = "allways"
