hostname = "mx1.example.net"

[[listener]]
address = "[::]:25"
service = "atrn"

---
next-hop = ["on-demand", "mail.example.com:25"]

[check-in]
user = "example com"
password-hash = "$2b$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q"
scram-sha-256 = "SCRAM-SHA-256$1000:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
cram-md5-secret = "tanstaaf"
lease = "10 min"
