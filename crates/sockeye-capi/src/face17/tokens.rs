//! Header tokens: the numbers by which programs name the parts of a request, and what each is in HTTP.

use std::ffi::CStr;
use std::ffi::c_int;

/// What a token names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Token {
    /// The decoded path of a request with this method. Absent in requests with another.
    Path(&'static str),
    /// The field with this name in lower case. Several lines are one value with commas.
    Field(&'static str),
    /// The arguments of the URL.
    Arguments,
    /// The version of the request, such as `HTTP/1.1`.
    Version,
    /// Something that a request over HTTP/1 never has.
    Nothing,
}

/// What `number` names. `None` if no program may ask for it.
pub(crate) fn token(number: c_int) -> Option<Token> {
    let index = usize::try_from(number).ok().filter(|index| *index < COUNT)?;
    Some(match index {
        0 => Token::Path("GET"),
        1 => Token::Path("POST"),
        2 => Token::Path("OPTIONS"),
        15 => Token::Version,
        73 => Token::Path("PATCH"),
        74 => Token::Path("PUT"),
        75 => Token::Path("DELETE"),
        76 => Token::Arguments,
        81 => Token::Path("CONNECT"),
        82 => Token::Path("HEAD"),
        _ => name(index).map_or(Token::Nothing, Token::Field),
    })
}

/// The text of `number` as `lws_token_to_string` gives it: field names with their colon.
pub(crate) fn text(number: c_int) -> Option<&'static CStr> {
    TEXTS.get(usize::try_from(number).ok()?).copied()
}

/// `WSI_TOKEN_COUNT`: tokens are below it.
pub(crate) const COUNT: usize = 95;

fn name(index: usize) -> Option<&'static str> {
    let text = TEXTS.get(index)?.to_str().ok()?;
    text.strip_suffix(':').filter(|name| !name.is_empty())
}

const TEXTS: [&CStr; 88] = [
    c"get ",
    c"post ",
    c"options ",
    c"host:",
    c"connection:",
    c"upgrade:",
    c"origin:",
    c"sec-websocket-draft:",
    c"\r\n",
    c"sec-websocket-extensions:",
    c"sec-websocket-key1:",
    c"sec-websocket-key2:",
    c"sec-websocket-protocol:",
    c"sec-websocket-accept:",
    c"sec-websocket-nonce:",
    c"http/1.1 ",
    c"http2-settings:",
    c"accept:",
    c"access-control-request-headers:",
    c"if-modified-since:",
    c"if-none-match:",
    c"accept-encoding:",
    c"accept-language:",
    c"pragma:",
    c"cache-control:",
    c"authorization:",
    c"cookie:",
    c"content-length:",
    c"content-type:",
    c"date:",
    c"range:",
    c"referer:",
    c"sec-websocket-key:",
    c"sec-websocket-version:",
    c"sec-websocket-origin:",
    c":authority",
    c":method",
    c":path",
    c":scheme",
    c":status",
    c"accept-charset:",
    c"accept-ranges:",
    c"access-control-allow-origin:",
    c"age:",
    c"allow:",
    c"content-disposition:",
    c"content-encoding:",
    c"content-language:",
    c"content-location:",
    c"content-range:",
    c"etag:",
    c"expect:",
    c"expires:",
    c"from:",
    c"if-match:",
    c"if-range:",
    c"if-unmodified-since:",
    c"last-modified:",
    c"link:",
    c"location:",
    c"max-forwards:",
    c"proxy-authenticate:",
    c"proxy-authorization:",
    c"refresh:",
    c"retry-after:",
    c"server:",
    c"set-cookie:",
    c"strict-transport-security:",
    c"transfer-encoding:",
    c"user-agent:",
    c"vary:",
    c"via:",
    c"www-authenticate:",
    c"patch",
    c"put",
    c"delete",
    c"uri-args",
    c"proxy ",
    c"x-real-ip:",
    c"http/1.0 ",
    c"x-forwarded-for:",
    c"connect ",
    c"head ",
    c"te:",
    c"replay-nonce:",
    c":protocol",
    c"x-auth-token:",
    c"",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_at_the_numbers_of_the_header() {
        for (number, field) in [
            (3, "host"),
            (6, "origin"),
            (9, "sec-websocket-extensions"),
            (12, "sec-websocket-protocol"),
            (17, "accept"),
            (18, "access-control-request-headers"),
            (27, "content-length"),
            (31, "referer"),
            (33, "sec-websocket-version"),
            (59, "location"),
            (65, "server"),
            (66, "set-cookie"),
            (69, "user-agent"),
            (78, "x-real-ip"),
            (80, "x-forwarded-for"),
            (86, "x-auth-token"),
        ] {
            assert_eq!(token(number), Some(Token::Field(field)));
        }
        for (number, method) in [
            (0, "GET"),
            (1, "POST"),
            (2, "OPTIONS"),
            (73, "PATCH"),
            (74, "PUT"),
            (75, "DELETE"),
            (81, "CONNECT"),
            (82, "HEAD"),
        ] {
            assert_eq!(token(number), Some(Token::Path(method)));
        }
    }

    #[test]
    fn every_number_below_the_count_is_a_token() {
        assert_eq!((token(-1), token(95), token(c_int::MAX), token(c_int::MIN)), (None, None, None, None));
        for number in 0..95 {
            let token = token(number).unwrap();
            if let Token::Field(name) = token {
                assert!(!name.is_empty() && !name.contains([':', ' ']), "{number} {name}");
                assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()), "{number} {name}");
            }
        }
        assert_eq!((token(8), token(35), token(39), token(87), token(94)), {
            let nothing = Some(Token::Nothing);
            (nothing, nothing, nothing, nothing, nothing)
        });
    }

    #[test]
    fn texts_have_their_colon() {
        assert_eq!(text(3), Some(c"host:"));
        assert_eq!(text(36), Some(c":method"));
        assert_eq!((text(-1), text(88)), (None, None));
    }
}
