//! A request for a WebSocket, as bytes.

/// With these fields beside the required ones, each with its line end.
pub fn upgrade(fields: &str) -> Vec<u8> {
    let head = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    format!("{head}{fields}\r\n").into_bytes()
}
