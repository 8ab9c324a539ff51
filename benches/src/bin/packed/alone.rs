//! zlib-rs with nothing around it.

use std::error::Error;

use sockeye_benches::packing::{HISTORY, Memory, Packer, TAIL, Unpacker, client_packed};

use crate::{Options, Way};

/// Does what the server has zlib-rs do, in the order in which the server has the messages.
pub(crate) fn run(options: &Options) -> Result<String, Box<dyn Error>> {
    let texts = options.texts();
    if options.memory == Memory::Stateful && texts.len() > 1 {
        return Err("a machine for each connection is counted with one connection".into());
    }
    let is_deflating = options.way == Way::Send;
    let (mut deflate, mut inflate) = (Packer::new(options.level, 15), Unpacker::default());
    let clients_window = if options.memory == Memory::None { 15 } else { HISTORY.ilog2() as u8 };
    let mut clients: Vec<Packer> = texts.iter().map(|_| Packer::for_client(clients_window)).collect();
    let mut said = vec![Vec::new(); texts.len()];
    let (mut out, mut bytes) = (vec![0; 64 * 1024], 0);
    for index in 0..options.messages {
        for ((texts, client), said) in texts.iter().zip(&mut clients).zip(&mut said) {
            let text = texts[index].as_bytes();
            let history = match options.memory {
                Memory::None => Some(&[][..]),
                Memory::History => Some(&said[said.len().saturating_sub(HISTORY)..]),
                Memory::Stateful => None,
            };
            bytes += if is_deflating {
                deflate_once(&mut deflate, history, text, &mut out)
            } else {
                let mut packed = client_packed(client, options.memory, text);
                packed.extend_from_slice(&TAIL);
                inflate_once(&mut inflate, history, &packed, &mut out)
            };
            said.extend_from_slice(text);
        }
    }
    Ok(format!("bytes={bytes}"))
}

/// Nothing less can be done with the interface of zlib-rs.
#[inline(never)]
fn deflate_once(deflate: &mut Packer, history: Option<&[u8]>, text: &[u8], out: &mut [u8]) -> usize {
    if let Some(history) = history {
        deflate.begin(history);
    }
    deflate.message(text, out)
}

/// As above.
#[inline(never)]
fn inflate_once(inflate: &mut Unpacker, history: Option<&[u8]>, packed: &[u8], out: &mut [u8]) -> usize {
    if let Some(history) = history {
        inflate.begin(history);
    }
    inflate.message(packed, out)
}
