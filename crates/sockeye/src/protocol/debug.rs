//! `Debug` of what callbacks borrow: which connection or endpoint it is of, not the service behind it.

use std::fmt;

use crate::protocol::answering::{AfterPiece, BodyPermission, HeadPermission};
use crate::protocol::raw::RawAfterWrite;
use crate::protocol::request_views::RequestMut;
use crate::protocol::topics::TopicMut;
use crate::protocol::{
    AfterFragment, AfterSend, BinaryFragments, ClosedCx, Commands, ConnectionMut, Cx, EndpointMut, ProtocolMut,
    RawClosedCx, RawCx, RawWritable, RequestClosedCx, RequestCx, ResponderMut, TextFragments, Writable,
};

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.endpoints.iter().map(|endpoint| &endpoint.name).collect();
        f.debug_struct("Commands").field("endpoints", &names).finish_non_exhaustive()
    }
}

impl fmt::Debug for ConnectionMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionMut").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ProtocolMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtocolMut").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl fmt::Debug for TopicMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicMut").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl fmt::Debug for EndpointMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointMut").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RequestMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestMut").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ResponderMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponderMut").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Contexts: the connection and its peer.
macro_rules! contexts {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("id", &self.id()).field("peer", self.peer()).finish_non_exhaustive()
            }
        }
    )*};
}

contexts!(Cx, ClosedCx, RawCx, RawClosedCx, RequestCx, RequestClosedCx);

/// Permissions, which have nothing to show but what they permit.
macro_rules! permissions {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

permissions!(Writable, AfterSend, TextFragments, BinaryFragments, RawWritable, RawAfterWrite);
permissions!(HeadPermission, BodyPermission, AfterPiece);

impl<T> fmt::Debug for AfterFragment<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterFragment").finish_non_exhaustive()
    }
}
