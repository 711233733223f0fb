module greylist-go

go 1.24
