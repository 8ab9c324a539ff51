//! The options that say who may connect to a server: pages of which sites, and under which names.

use clap::Args;
use sockeye::Builder;
use sockeye::service::{Hosts, Origins};

use crate::failure::Failure;

/// What every server of this command has, a client that listens included.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Admission {
    /// Let pages of every site connect
    ///
    /// Without it a browser's request is refused with 403 unless its page comes from this server (the host and port of the
    /// request itself) or from an --origin. Only use it for a server that every page the user opens may talk to.
    #[arg(long, conflicts_with = "origin")]
    pub(crate) any_origin: bool,

    /// Host name to answer to as well, such as example.com (repeatable)
    ///
    /// A request for any other host is refused with 421, so that no other site can pass for this server by making its own name
    /// resolve to it (DNS rebinding). Addresses, localhost and names below localhost are always served; over a Unix socket every
    /// name is, since no name leads a browser there.
    #[arg(long = "host", value_name = "NAME[:PORT]", value_parser = parse_host)]
    pub(crate) hosts: Vec<String>,

    /// Answer to every host name, for a server behind a proxy that checks them itself
    #[arg(long, conflicts_with = "hosts")]
    pub(crate) any_host: bool,
}

impl Admission {
    /// Configures who may connect. `origins`: sites whose pages may connect, in addition to the server's own.
    ///
    /// # Errors
    /// A text that is not an origin: exit code 2.
    pub(crate) fn apply(&self, builder: Builder, origins: &[String], require_origin: bool) -> Result<Builder, Failure> {
        Ok(builder.origins(self.origins(origins, require_origin)?).hosts(self.hosts()?))
    }

    fn origins(&self, origins: &[String], require_origin: bool) -> Result<Origins, Failure> {
        if self.any_origin {
            return Ok(Origins::any());
        }
        // One by one, so that the error can name the one that is wrong.
        for origin in origins {
            Origins::only([origin]).map_err(|error| {
                let hint = origin_hint(origin);
                Failure::usage(format!("--origin {origin}: {error}{hint}"))
            })?;
        }
        let listed = Origins::only(origins).map_err(|error| Failure::usage(format!("--origin: {error}")))?;
        let admitted = listed.or_same_host().for_plain_requests().hint(ORIGIN_HINT);
        Ok(if require_origin { admitted } else { admitted.or_missing() })
    }

    fn hosts(&self) -> Result<Hosts, Failure> {
        if self.any_host {
            return Ok(Hosts::any());
        }
        let listed = Hosts::only(&self.hosts).map_err(|error| Failure::usage(format!("--host: {error}")))?;
        Ok(listed.or_local().hint(HOST_HINT))
    }
}

/// What to write in place of something that is not an origin.
fn origin_hint(origin: &str) -> String {
    if origin.contains('*') {
        return "; there are no patterns: name each origin, or admit all with --any-origin".to_owned();
    }
    let authority = origin.find("://").map_or(0, |at| at + "://".len());
    match origin[authority..].find(['/', '?', '#']).map(|end| &origin[..authority + end]) {
        Some(bare) if Origins::only([bare]).is_ok() => {
            format!("; a browser names the site, not the page, so write {bare}")
        }
        _ => String::new(),
    }
}

fn parse_host(text: &str) -> Result<String, &'static str> {
    if text.contains('*') {
        return Err("there are no patterns: name each host, or serve all with --any-host");
    }
    Hosts::only([text])
        .map(|_| text.to_owned())
        .map_err(|_| "write a host name, such as example.com or example.com:8080")
}

/// For the body of a refusal.
const ORIGIN_HINT: &str = "the server's option --origin admits the pages of a site, --any-origin those of every site";
const HOST_HINT: &str = "the server's option --host adds a name, --any-host serves every name";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for good in ["example.com", "example.com:8080", "[2001:db8::1]:80", "box"] {
            assert_eq!(parse_host(good), Ok(good.to_owned()));
        }
        for bad in ["", "http://example.com", "example.com/", "a b", "::1", "user@a", "*", "*.example.com", "a:b"] {
            assert!(parse_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_that_is_not_one_is_answered_with_one_that_is() {
        assert_eq!(origin_hint("example.com"), "");
        assert!(origin_hint("https://*.example.com").contains("--any-origin"));
        assert!(origin_hint("https://example.com/x").ends_with("so write https://example.com"));
    }
}
