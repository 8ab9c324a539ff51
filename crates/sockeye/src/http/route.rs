//! Which requests a responder gets: a path or a prefix, and methods.

use std::borrow::Cow;

/// The requests that go to a [`Responder`](crate::responder::Responder): those of one path or of all paths below one,
/// of all methods or of some. A text is a [path](Self::path) with all methods.
///
/// ```
/// use sockeye::http::Route;
///
/// let upload = Route::below("/files").methods(["PUT", "DELETE"]);
/// let everything_else = Route::below("/");
/// # let _ = (upload, everything_else);
/// ```
#[derive(Clone, Debug)]
pub struct Route {
    pub(super) path: String,
    pub(super) is_prefix: bool,
    pub(super) methods: Methods,
}

impl Route {
    /// Exactly this path, decoded (`/größe`).
    #[must_use]
    pub fn path(path: &str) -> Self {
        Self { path: path.to_owned(), is_prefix: false, methods: Methods::All }
    }

    /// This path, and all below it: `/a` covers `/a/b`, not `/ab`. `/` covers everything that no other route does.
    #[must_use]
    pub fn below(prefix: &str) -> Self {
        Self { path: prefix.to_owned(), is_prefix: true, methods: Methods::All }
    }

    /// Only these methods, which are case-sensitive tokens; without this all of them. GET includes HEAD. Others are
    /// answered 405 with the list in Allow, and OPTIONS is answered with the list unless it is one of them.
    #[must_use]
    pub fn methods<'m>(mut self, methods: impl IntoIterator<Item = &'m str>) -> Self {
        let mut listed: Vec<Cow<'static, str>> = Vec::new();
        for method in methods {
            let method = known(method).map_or_else(|| Cow::Owned(method.to_owned()), Cow::Borrowed);
            if !listed.contains(&method) {
                listed.push(method);
            }
        }
        if let Some(get) = listed.iter().position(|method| method == "GET") {
            if !listed.iter().any(|method| method == "HEAD") {
                listed.insert(get + 1, "HEAD".into());
            }
        }
        self.methods = Methods::Only(listed);
        self
    }
}

impl From<&str> for Route {
    fn from(path: &str) -> Self {
        Self::path(path)
    }
}

/// The methods of a route.
#[derive(Clone, Debug)]
pub(super) enum Methods {
    All,
    Only(Vec<Cow<'static, str>>),
}

impl Methods {
    pub(super) fn has(&self, method: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(methods) => methods.iter().any(|own| own == method),
        }
    }

    /// The listed ones.
    pub(super) fn listed(&self) -> &[Cow<'static, str>] {
        match self {
            Self::All => &[],
            Self::Only(methods) => methods,
        }
    }
}

/// What a route names: a [`ResponderHandle`](crate::responder::ResponderHandle) is one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponderTarget {
    /// Identifies the builder of the handle.
    pub(crate) builder: u64,
    /// The endpoint's index.
    pub(crate) endpoint: u16,
}

/// The usual methods, which need no memory of their own.
fn known(method: &str) -> Option<&'static str> {
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"].into_iter().find(|known| *known == method)
}
