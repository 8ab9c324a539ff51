// A server made of gorilla/websocket, for `conformance-client peer`; or, with the URL of a server that echoes, a client that tries
// it. What the server has to know stands in
// conformance/src/client/peer.rs. With CERTIFICATE in the environment, a PEM file with a certificate and its key, it speaks TLS;
// with CLIENT_AUTHORITY as well it demands certificates of its clients. With COMPRESS=1 it compresses for those who offer it.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// How connections with a ticket were closed, as soon as they are.
var (
	mutex  sync.Mutex
	closes = map[string]chan string{}
)

func seen(ticket string) chan string {
	mutex.Lock()
	defer mutex.Unlock()
	if closes[ticket] == nil {
		closes[ticket] = make(chan string, 1)
	}
	return closes[ticket]
}

func handle(response http.ResponseWriter, request *http.Request) {
	switch request.URL.Path {
	case "/refuse":
		http.Error(response, "go away", http.StatusForbidden)
		return
	case "/moved":
		http.Redirect(response, request, "/request", http.StatusFound)
		return
	}
	query := request.URL.Query()
	cut, _ := strconv.Atoi(query.Get("cut"))
	// It sends a fragment whenever this is full.
	upgrader := websocket.Upgrader{Subprotocols: []string{"superchat"}, WriteBufferSize: cut, CheckOrigin: everybody}
	upgrader.EnableCompression = os.Getenv("COMPRESS") == "1"
	socket, err := upgrader.Upgrade(response, request, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, request.URL, err)
		return
	}
	defer socket.Close()
	switch request.URL.Path {
	case "/seen":
		text := <-seen(query.Get("ticket"))
		_ = socket.WriteMessage(websocket.TextMessage, []byte(text))
	case "/close":
		_ = socket.WriteControl(websocket.CloseMessage, closing(query), time.Now().Add(10*time.Second))
	case "/drop":
		drop(socket.UnderlyingConn())
		return
	case "/request":
		_ = socket.WriteMessage(websocket.TextMessage, []byte(strings.Join(fields(request), "\n")))
	case "/ping":
		go ping(socket)
	}
	messages, err := echo(socket, cut)
	if query.Has("ticket") && request.URL.Path != "/seen" {
		text := fmt.Sprint(err)
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			text = fmt.Sprintf("%d %d %s", messages, closed.Code, closed.Text)
		}
		seen(query.Get("ticket")) <- text
	}
}

// Its end is a reset, and with TLS there is no alert before it.
func drop(connection net.Conn) {
	if secure, ok := connection.(*tls.Conn); ok {
		connection = secure.NetConn()
	}
	_ = connection.(*net.TCPConn).SetLinger(0)
	_ = connection.Close()
}

// Our pages are nobody's.
func everybody(*http.Request) bool {
	return true
}

func fields(request *http.Request) []string {
	all := []string{request.RequestURI, request.Host}
	for _, name := range []string{"Origin", "Authorization", "X-Sockeye"} {
		value := request.Header.Get(name)
		if value == "" {
			value = "-"
		}
		all = append(all, value)
	}
	return all
}

func closing(query url.Values) []byte {
	code, err := strconv.Atoi(query.Get("code"))
	if err != nil {
		code = websocket.CloseNoStatusReceived
	}
	return websocket.FormatCloseMessage(code, query.Get("reason"))
}

// Echoes until the connection is closed, and tells how many messages came.
func echo(socket *websocket.Conn, cut int) (int, error) {
	for count := 0; ; count++ {
		kind, message, err := socket.ReadMessage()
		if err != nil {
			return count, err
		}
		if cut == 0 {
			err = socket.WriteMessage(kind, message)
		} else {
			err = fragments(socket, kind, message, cut)
		}
		if err != nil {
			return count, err
		}
	}
}

func fragments(socket *websocket.Conn, kind int, message []byte, cut int) error {
	writer, err := socket.NextWriter(kind)
	if err != nil {
		return err
	}
	for ; len(message) > cut; message = message[cut:] {
		if _, err = writer.Write(message[:cut]); err != nil {
			return err
		}
	}
	if _, err = writer.Write(message); err != nil {
		return err
	}
	return writer.Close()
}

// The answers come to the reading side, which is `echo`.
func ping(socket *websocket.Conn) {
	pongs := make(chan string, 1)
	socket.SetPongHandler(func(payload string) error {
		pongs <- payload
		return nil
	})
	count := 0
	for _, size := range []int{0, 1, 125} {
		payload := bytes.Repeat([]byte("p"), size)
		_ = socket.WriteControl(websocket.PingMessage, payload, time.Now().Add(10*time.Second))
		if <-pongs == string(payload) {
			count++
		}
	}
	_ = socket.WriteMessage(websocket.TextMessage, []byte(fmt.Sprintf("pongs: %d", count)))
}

// Messages of all sizes, on a connection each, and how it closes.
func client(url string) int {
	failed := 0
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 16 << 20} {
		for kind, what := range map[int]string{websocket.TextMessage: "text", websocket.BinaryMessage: "binary"} {
			name := fmt.Sprintf("gorilla: %s of %d bytes", what, size)
			if err := exchange(url, kind, size); err != nil {
				failed++
				fmt.Printf("not ok %s: %v\n", name, err)
			} else {
				fmt.Printf("ok %s\n", name)
			}
		}
	}
	return failed
}

func exchange(url string, kind, size int) error {
	socket, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		return err
	}
	defer socket.Close()
	_ = socket.SetReadDeadline(time.Now().Add(60 * time.Second))
	message := make([]byte, size)
	for at := range message {
		message[at] = byte('a' + (at*31+at>>8)%26)
	}
	sent := make(chan error, 1)
	go func() { sent <- socket.WriteMessage(kind, message) }()
	came, echo, err := socket.ReadMessage()
	if err != nil {
		return err
	}
	if err = <-sent; err != nil {
		return err
	}
	if came != kind || !bytes.Equal(echo, message) {
		return fmt.Errorf("another message came back, of %d bytes", len(echo))
	}
	closing := websocket.FormatCloseMessage(4999, "until later")
	if err = socket.WriteControl(websocket.CloseMessage, closing, time.Now().Add(10*time.Second)); err != nil {
		return err
	}
	if _, _, err = socket.ReadMessage(); !websocket.IsCloseError(err, 4999) {
		return fmt.Errorf("not closed with 4999: %v", err)
	}
	return nil
}

func main() {
	if len(os.Args) > 1 {
		os.Exit(client(os.Args[1]))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() {
		<-ended
		os.Exit(0)
	}()
	handler := http.HandlerFunc(handle)
	certificate := os.Getenv("CERTIFICATE")
	if certificate == "" {
		fmt.Printf("listening on ws://%s/\n", listener.Addr())
		_ = http.Serve(listener, handler)
	} else {
		fmt.Printf("listening on wss://%s/\n", listener.Addr())
		server := http.Server{Handler: handler, TLSConfig: &tls.Config{}}
		if file := os.Getenv("CLIENT_AUTHORITY"); file != "" {
			pem, _ := os.ReadFile(file)
			server.TLSConfig.ClientCAs = x509.NewCertPool()
			server.TLSConfig.ClientCAs.AppendCertsFromPEM(pem)
			server.TLSConfig.ClientAuth = tls.RequireAndVerifyClientCert
		}
		_ = server.ServeTLS(listener, certificate, certificate)
	}
}
