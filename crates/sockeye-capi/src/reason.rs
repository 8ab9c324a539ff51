//! Why a callback of a C program is called, and the numbers that the two interfaces have for it.

use std::ffi::c_int;

/// Which interface the program was written for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Interface {
    /// That of January 2013: `libwebsocket_*`.
    Lws13 = 1,
    /// That of version 4.1.6: `lws_*`.
    Lws17 = 2,
}

macro_rules! reasons {
    ($($(#[$about:meta])* $name:ident: $lws13:expr, $lws17:expr;)*) => {
        /// Why a callback is called. What an interface has no number for is not called there.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[expect(dead_code, reason = "some are of 4.1.6 alone")]
        pub(crate) enum Reason {
            $($(#[$about])* $name,)*
        }

        impl Reason {
            pub(crate) const fn number(self, interface: Interface) -> Option<c_int> {
                const NONE: c_int = -1;
                // In the order of the reasons.
                const NUMBERS: &[[c_int; 2]] = &[$([$lws13, $lws17],)*];
                let [lws13, lws17] = NUMBERS[self as usize];
                let number = match interface {
                    Interface::Lws13 => lws13,
                    Interface::Lws17 => lws17,
                };
                if number == NONE { None } else { Some(number) }
            }
        }
    };
}

// The name, its number in 2013, its number in 4.1.6; -1: it is not called there.
reasons! {
    Established: 0, 0;
    ClientConnectionError: 1, 1;
    ClientFilterPreEstablish: -1, 2;
    ClientEstablished: 2, 3;
    Closed: 3, 4;
    ClosedHttp: -1, 5;
    Receive: 4, 6;
    ReceivePong: -1, 7;
    ClientReceive: 5, 8;
    ClientReceivePong: 6, 9;
    ClientWriteable: 7, 10;
    ServerWriteable: 8, 11;
    Http: 9, 12;
    HttpBody: -1, 13;
    HttpBodyCompletion: -1, 14;
    HttpFileCompletion: 10, 15;
    HttpWriteable: -1, 16;
    FilterNetworkConnection: 12, 17;
    FilterHttpConnection: -1, 18;
    ServerNewClientInstantiated: -1, 19;
    FilterProtocolConnection: 13, 20;
    ClientAppendHandshakeHeader: 17, 24;
    ConfirmExtensionOkay: 18, 25;
    ClientConfirmExtensionSupported: 19, 26;
    ProtocolInit: -1, 27;
    ProtocolDestroy: -1, 28;
    WsiCreate: -1, 29;
    WsiDestroy: -1, 30;
    AddPollFd: 20, -1;
    DelPollFd: 21, -1;
    SetModePollFd: 22, -1;
    ClearModePollFd: 23, -1;
    WsPeerInitiatedClose: -1, 38;
    EstablishedClientHttp: -1, 44;
    HttpBindProtocol: -1, 49;
    HttpDropProtocol: -1, 50;
    AddHeaders: -1, 53;
    EventWaitCancelled: -1, 71;
    Timer: -1, 73;
    ClientClosed: 3, 75;
    ClientHttpDropProtocol: -1, 76;
    WsServerDropProtocol: -1, 78;
    WsClientDropProtocol: -1, 80;
    ClientHttpBindProtocol: -1, 85;
    HttpConfirmUpgrade: -1, 86;
}

#[cfg(test)]
mod tests {
    use super::{Interface, Reason};

    #[test]
    fn a_reason_has_the_number_of_its_interface_or_none() {
        assert_eq!(Reason::Receive.number(Interface::Lws13), Some(4));
        assert_eq!(Reason::Receive.number(Interface::Lws17), Some(6));
        assert_eq!(Reason::AddPollFd.number(Interface::Lws17), None);
        assert_eq!(Reason::ClientClosed.number(Interface::Lws13), Reason::Closed.number(Interface::Lws13));
    }
}
