hostname = "mx1.example.net"
max-connections = 10
max-connections = 20
max-recipient = 5

---
next-hop = ["mail.example.com:25"]
	tls = "fast"
