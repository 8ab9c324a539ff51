//! TLS for programs that name files, or have their content.

use std::path::PathBuf;

/// A PEM file, or what is in one.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// A certificate with those that vouch for it, and its key.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) chain: Source,
    pub(crate) key: Source,
}

/// Whom connections of a program's own trust.
#[derive(Clone, Debug, Default)]
pub(crate) enum Trust {
    /// Whom the system does.
    #[default]
    System,
    /// These authorities alone,
    These(Source),
    /// or those of the system, too.
    Also(Source),
    Nobody,
}

/// What connections of a program's own are made with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    pub(crate) trust: Trust,
    /// Shown to servers that ask for one.
    pub(crate) identity: Option<Identity>,
}

/// Which clients a listener takes.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    /// Who has issued their certificates.
    pub(crate) roots: Source,
    /// One without a certificate is refused.
    pub(crate) are_required: bool,
}

#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod with {
    use sockeye::Connect;
    use sockeye::service::Listen;
    use sockeye::tls::{ClientCertificates, ClientTls, Pem, Provider, ServerTls};

    use super::{Clients, Identity, Own, Source, Trust};

    #[cfg(feature = "tls-aws-lc")]
    const PROVIDER: Provider = Provider::AwsLc;
    #[cfg(not(feature = "tls-aws-lc"))]
    const PROVIDER: Provider = Provider::Ring;

    fn pem(source: &Source) -> Pem {
        match source {
            Source::File(path) => Pem::file(path),
            Source::Bytes(bytes) => Pem::bytes(bytes.as_slice()),
        }
    }

    /// A connect to a server whose certificate is verified, or any.
    pub(crate) fn connect(connect: Connect, any_certificate: bool, own: &Own) -> Result<Connect, String> {
        let mut builder = ClientTls::builder(PROVIDER);
        if let Some(Identity { chain, key }) = &own.identity {
            builder = builder.certificate(pem(chain), pem(key));
        }
        let built = match &own.trust {
            _ if any_certificate => builder.dangerous_verify_nothing().build(),
            Trust::System => builder.system_roots().build(),
            Trust::These(roots) => builder.roots(pem(roots)).build(),
            Trust::Also(roots) => {
                let builder = builder.roots(pem(roots));
                // A system may have none.
                builder.clone().system_roots().build().or_else(|_| builder.build())
            }
            Trust::Nobody => return Err("no authority is trusted: the program wants none of the system's".to_owned()),
        };
        Ok(connect.tls(built.map_err(|error| error.to_string())?))
    }

    /// What makes a listener speak TLS.
    pub(crate) fn listen(
        identity: &Identity,
        clients: Option<&Clients>,
    ) -> Result<impl FnOnce(Listen) -> Listen + use<>, String> {
        let mut builder = ServerTls::builder(PROVIDER).certificate(pem(&identity.chain), pem(&identity.key));
        if let Some(Clients { roots, are_required }) = clients {
            let roots = pem(roots);
            builder = builder.client_certificates(match are_required {
                true => ClientCertificates::required(roots),
                false => ClientCertificates::optional(roots),
            });
        }
        let tls = builder.build().map_err(|error| error.to_string())?;
        Ok(move |listen: Listen| listen.tls(tls))
    }
}

#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
mod with {
    use sockeye::Connect;
    use sockeye::service::Listen;

    use super::{Clients, Identity, Own};

    const NONE: &str = "this build has no TLS: build with the feature tls-aws-lc or tls-ring";

    pub(crate) fn connect(_: Connect, _: bool, _: &Own) -> Result<Connect, String> {
        Err(NONE.to_owned())
    }

    pub(crate) fn listen(_: &Identity, _: Option<&Clients>) -> Result<impl FnOnce(Listen) -> Listen + use<>, String> {
        let none = |listen| listen;
        if NONE.is_empty() { Ok(none) } else { Err(NONE.to_owned()) }
    }
}

pub(crate) use with::{connect, listen};
