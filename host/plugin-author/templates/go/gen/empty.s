// Lets functions without a body compile where nobody answers them: `go vet` and `go test` on the author's machine.
