//! An upload of a gigabyte through a responder, on real sockets: how much memory it takes.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use sockeye::Service;
use sockeye::http::{HttpRequest, Response, Routes};
use sockeye::responder::{RequestCx, Responder};
use sockeye::sys::Address;

use crate::allocator;

struct Sink {
    most: Rc<Cell<isize>>,
    turn: u32,
}

impl Responder for Sink {
    type Session = u64;

    fn name(&self) -> &'static str {
        "sink"
    }

    fn request(&mut self, cx: &mut RequestCx<'_>, _: &HttpRequest<'_>) -> Result<u64, Response> {
        cx.limits().body_bytes = LENGTH;
        Ok(0)
    }

    fn body(&mut self, cx: &mut RequestCx<'_>, count: &mut u64, piece: &[u8]) -> Option<Response> {
        *count += piece.len() as u64;
        self.most.set(self.most.get().max(allocator::bytes_held()));
        // Now and then the program is behind.
        self.turn += 1;
        if self.turn % 1000 == 0 {
            cx.pause_reading();
            cx.set_timer(Duration::from_millis(1));
        }
        None
    }

    fn timer(&mut self, cx: &mut RequestCx<'_>, _: &mut u64) -> Option<Response> {
        cx.resume_reading();
        None
    }

    fn body_ended(&mut self, _: &mut RequestCx<'_>, count: &mut u64) -> Option<Response> {
        Some(Response::text(count.to_string()))
    }
}

const LENGTH: u64 = 1 << 30;

pub(crate) fn a_gigabyte_takes_less_than_a_megabyte() {
    let most = Rc::new(Cell::new(0));
    let mut builder = Service::builder();
    let sink = builder.add_responder(Sink { most: Rc::clone(&most), turn: 0 });
    let routes = Routes::new().responder("/", sink);
    let mut service = builder.routes(routes).listen("127.0.0.1:0").build().unwrap();
    let Address::Ip(address) = service.local_addresses()[0].clone() else { panic!("no address") };
    let mut client = TcpStream::connect(address).unwrap();
    client.set_nonblocking(true).unwrap();
    let piece = vec![b'x'; 1 << 20];
    let mut answer = String::with_capacity(1000);
    service.run_once(Some(Duration::ZERO)).unwrap();
    let before = allocator::bytes_held();
    write!(client, "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut left = LENGTH as usize;
    while left > 0 {
        match client.write(&piece[..left.min(piece.len())]) {
            Ok(count) => left -= count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        service.run_once(Some(Duration::ZERO)).unwrap();
    }
    let mut bytes = [0; 1000];
    while service.connections() > 0 {
        service.run_once(Some(Duration::from_millis(10))).unwrap();
        match client.read(&mut bytes) {
            Ok(0) => drop(client.shutdown(std::net::Shutdown::Both)),
            Ok(count) => answer.push_str(std::str::from_utf8(&bytes[..count]).unwrap()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!(answer.ends_with(&format!("\r\n\r\n{LENGTH}")), "{answer}");
    let took = most.get() - before;
    assert!(took < 1 << 20, "{took} bytes");
}
