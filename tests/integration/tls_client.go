// A client in Go, whose TLS is neither OpenSSL's nor BoringSSL's: makes two requests over each
// version of TLS, says that it sends no more after each, and reads the answer to its end.
//
//	tls_client ADDRESS CA [CERTIFICATE KEY]
//
// For each request a line: the version, whether a session was resumed, the application protocol,
// and the first line of the answer or the error.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func ask(address string, config *tls.Config) (bool, string, string) {
	connection, err := tls.Dial("tcp", address, config)
	if err != nil {
		return false, "", err.Error()
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	state := connection.ConnectionState()
	io.WriteString(connection, "GET / HTTP/1.0\r\n\r\n")
	connection.CloseWrite()
	answer, err := io.ReadAll(connection)
	if err != nil {
		return state.DidResume, state.NegotiatedProtocol, err.Error()
	}
	line, _, _ := strings.Cut(string(answer), "\r")
	return state.DidResume, state.NegotiatedProtocol, line
}

func main() {
	authorities := x509.NewCertPool()
	pem, _ := os.ReadFile(os.Args[2])
	authorities.AppendCertsFromPEM(pem)
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		config := &tls.Config{
			RootCAs: authorities, ServerName: "server.test", NextProtos: []string{"b"},
			MinVersion: version, MaxVersion: version,
			ClientSessionCache: tls.NewLRUClientSessionCache(1),
		}
		if len(os.Args) > 4 {
			own, _ := tls.LoadX509KeyPair(os.Args[3], os.Args[4])
			config.Certificates = []tls.Certificate{own}
		}
		for i := 0; i < 2; i++ {
			resumed, protocol, line := ask(os.Args[1], config)
			fmt.Println(name, resumed, protocol, line)
		}
	}
}
