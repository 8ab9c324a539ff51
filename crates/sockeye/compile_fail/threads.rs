//! What stays on the thread of its service. The compiler's text about such a mistake names every private type on the way, so it
//! changes with each of them: what is checked is whether the type may go, and not the text.

use std::marker::PhantomData;

use sockeye::{
    Commands, ConnId, Control, Cx, Remote, Service, Threads, Tx, Writable,
    messages::{MessageCx, Outbox},
    protocol::{AfterSend, BinaryFragments, ConnectionMut, ProtocolMut, TextFragments},
    raw::{EndpointMut, RawAfterWrite, RawCx, RawWritable},
    responder::{AfterPiece, BodyPermission, HeadPermission, RequestCx, RequestMut, ResponderMut, ResponseTx},
};

struct Of<T: ?Sized>(PhantomData<T>);

/// What holds of every type, unless the type has a constant of that name itself.
trait Stays {
    const GOES: bool = false;
}

impl<T: ?Sized> Stays for Of<T> {}

impl<T: ?Sized + Send> Of<T> {
    const GOES: bool = true;
}

/// Whether a type is `Send`, with its name.
macro_rules! go {
    ($($of:ty),* $(,)?) => { vec![$((stringify!($of), <Of<$of>>::GOES)),*] };
}

#[test]
fn views_and_permissions_stay_on_the_thread_of_the_service() {
    for (name, goes) in go![
        Service,
        Control<'_>,
        Commands,
        Cx<'_>,
        ConnectionMut<'_>,
        ProtocolMut<'_>,
        Tx<'_>,
        Writable<'_>,
        AfterSend<'_>,
        TextFragments<'_>,
        BinaryFragments<'_>,
        MessageCx<'_, '_>,
        RawCx<'_>,
        RawWritable<'_>,
        RawAfterWrite<'_>,
        EndpointMut<'_>,
        RequestCx<'_>,
        RequestMut<'_>,
        ResponderMut<'_>,
        ResponseTx<'_>,
        HeadPermission<'_>,
        BodyPermission<'_>,
        AfterPiece<'_>,
    ] {
        assert!(!goes, "{name} goes to another thread");
    }
}

/// The others would hold of everything if this did not.
#[test]
fn ids_remotes_and_outboxes_go_anywhere() {
    for (name, goes) in go![ConnId, Remote, Threads, Outbox] {
        assert!(goes, "{name} stays on its thread");
    }
}
