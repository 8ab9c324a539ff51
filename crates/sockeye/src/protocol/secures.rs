//! What the views of raw connections can do with TLS.

use crate::protocol::cx::RawCx;
use crate::protocol::views::ConnectionMut;
use crate::state::{End, TlsStart};
use crate::tls::{TlsAgreement, TlsRole};

impl ConnectionMut<'_> {
    /// Begins TLS on an open raw connection, as the commands STARTTLS (RFC 3207), STLS and AUTH TLS ask for, or at once in
    /// [`Raw::open`](crate::raw::Raw::open) on a descriptor that was adopted. What was written, also in this callback,
    /// leaves first, in plain; then comes the handshake, and then [`Raw::secured`](crate::raw::Raw::secured). No other
    /// callback but `timer` and `closed` comes between, whatever is paused or requested.
    ///
    /// `rest` is what the program received and has not used: in `receive`, the bytes behind the command. It is the beginning
    /// of the peer's handshake, as is all that was not delivered before. If a peer, or somebody between, sends plaintext
    /// behind the command, the handshake fails by that, and none of it can be taken for something that came inside
    /// (CVE-2011-0411). Give all of it away, and keep nothing that was said before: not even who the peer said it is.
    ///
    /// If the handshake fails, the connection ends: [`Raw::tls_failed`](crate::raw::Raw::tls_failed) and `closed` follow. So
    /// does it where TLS cannot begin: on anything but a stream socket, on a connection that has TLS, and behind
    /// [`shutdown_write`](Self::shutdown_write). [`Limits::tls_handshake_timeout`](crate::Limits::tls_handshake_timeout) and
    /// `tls_handshake_bytes` are for both roles, the other limits of handshakes for servers. By ALPN nothing is named.
    ///
    /// On WebSockets, which have a URL for that, and on descriptors of a [`Watcher`](crate::raw::Watcher), it has no
    /// effect.
    ///
    /// ```
    /// use sockeye::raw::{Raw, RawClose, RawCx, RawWritable};
    /// use sockeye::tls::{ServerTls, TlsRole};
    ///
    /// struct Mail {
    ///     tls: ServerTls,
    /// }
    ///
    /// #[derive(Default)]
    /// struct Dialog {
    ///     line: Vec<u8>,
    ///     is_secure: bool,
    /// }
    ///
    /// impl Raw for Mail {
    ///     type Session = Dialog;
    ///
    ///     fn name(&self) -> &str {
    ///         "mail"
    ///     }
    ///
    ///     fn open(&mut self, _: &mut RawCx<'_>) -> Dialog {
    ///         Dialog::default()
    ///     }
    ///
    ///     fn receive(&mut self, cx: &mut RawCx<'_>, dialog: &mut Dialog, bytes: &[u8]) -> Result<(), RawClose> {
    ///         dialog.line.extend_from_slice(bytes);
    ///         if dialog.line.starts_with(b"STARTTLS\r\n") && !dialog.is_secure {
    ///             cx.request_writable(); // to say that it begins
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn writable(&mut self, cx: &mut RawCx<'_>, dialog: &mut Dialog, tx: RawWritable<'_>) -> Result<(), RawClose> {
    ///         tx.write(b"220 ready to start TLS\r\n");
    ///         let lines = std::mem::take(&mut dialog.line);
    ///         cx.start_tls(TlsRole::server(self.tls.clone()), &lines["STARTTLS\r\n".len()..]);
    ///         Ok(())
    ///     }
    ///
    ///     fn secured(&mut self, _: &mut RawCx<'_>, dialog: &mut Dialog) -> Result<(), RawClose> {
    ///         *dialog = Dialog { is_secure: true, ..Dialog::default() }; // it begins anew
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn start_tls(&mut self, role: TlsRole, rest: &[u8]) {
        self.commands.push_end(self.id, End::Plain(Box::new(TlsStart { role, rest: rest.to_vec() })));
    }
}

impl<'a> RawCx<'a> {
    /// In [`open`](crate::raw::Raw::open), [`secured`](crate::raw::Raw::secured) and `timer`: what TLS agreed on with the peer.
    /// `None` if the connection is plain, and in other callbacks: keep what you need.
    #[must_use]
    pub fn tls(&self) -> Option<TlsAgreement<'a>> {
        self.tls.map(TlsAgreement::of)
    }
}
