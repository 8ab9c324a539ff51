//! TLS for programs that name files.

#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod with {
    use sockeye::Connect;
    use sockeye::service::Listen;
    use sockeye::tls::{ClientTls, Pem, Provider, ServerTls};

    #[cfg(feature = "tls-aws-lc")]
    const PROVIDER: Provider = Provider::AwsLc;
    #[cfg(not(feature = "tls-aws-lc"))]
    const PROVIDER: Provider = Provider::Ring;

    /// A connect to a server whose certificate is verified, or any.
    pub(crate) fn connect(connect: Connect, any_certificate: bool, roots: Option<&str>) -> Result<Connect, String> {
        let builder = ClientTls::builder(PROVIDER);
        let builder = match roots {
            _ if any_certificate => builder.dangerous_verify_nothing(),
            None => builder.system_roots(),
            Some(roots) => builder.roots(Pem::file(roots)),
        };
        Ok(connect.tls(builder.build().map_err(|error| error.to_string())?))
    }

    /// What makes a listener speak TLS.
    pub(crate) fn listen(certificate: &str, key: &str) -> Result<impl FnOnce(Listen) -> Listen + use<>, String> {
        let builder = ServerTls::builder(PROVIDER).certificate(Pem::file(certificate), Pem::file(key));
        let tls = builder.build().map_err(|error| error.to_string())?;
        Ok(move |listen: Listen| listen.tls(tls))
    }
}

#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
mod with {
    use sockeye::Connect;
    use sockeye::service::Listen;

    const NONE: &str = "this build has no TLS: build with the feature tls-aws-lc or tls-ring";

    pub(crate) fn connect(_: Connect, _: bool, _: Option<&str>) -> Result<Connect, String> {
        Err(NONE.to_owned())
    }

    pub(crate) fn listen(_: &str, _: &str) -> Result<impl FnOnce(Listen) -> Listen + use<>, String> {
        let none = |listen| listen;
        if NONE.is_empty() { Ok(none) } else { Err(NONE.to_owned()) }
    }
}

pub(crate) use with::{connect, listen};
