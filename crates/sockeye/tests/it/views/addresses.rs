//! The addresses of both ends of any connection, by its id.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use sockeye::client::RawConnect;
use sockeye::sys::Address;
use sockeye::{CloseCode, ConnId};
use sockeye_testing::raw::{NAME, both};

use super::World;

#[test]
fn both_ends_of_a_connection_agree() {
    let mut world = World::new(2);
    for index in 0..2 {
        let (of_server, of_client) = (world.server.notes.id(index), world.client.notes.id(index));
        let [server, client] = [true, false].map(|is_server| {
            let id = if is_server { of_server } else { of_client };
            let mut control = world.control_of(!is_server);
            (control.local_address(id).unwrap(), control.peer(id).unwrap().clone())
        });
        assert_eq!(server.0, Address::Ip(([10, 0, 0, 1], 80).into()));
        assert_eq!((&server.0, &server.1), (&client.1, &client.0));
        let mut control = world.server.control();
        assert!(control.peer(of_client).is_err() && control.local_address(of_client).is_err(), "of another service");
    }
    let id = world.server.notes.id(0);
    world.server.control().connection(id).unwrap().close(CloseCode::NORMAL);
    world.until(|world| world.server.notes.closed(0).is_some());
    let mut control = world.server.control();
    for gone in [id, ConnId::default()] {
        assert!(control.peer(gone).is_err() && control.local_address(gone).is_err());
    }
}

#[test]
fn over_real_sockets_and_where_there_is_none() {
    both(|mut real| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = Address::Ip(listener.local_addr().unwrap());
        let connect = RawConnect::from(there.clone()).source(IpAddr::from([127, 0, 0, 2]));
        let id = real.service.control().endpoint_named(NAME).unwrap().connect(connect);
        assert_eq!(real.service.control().peer(id).unwrap(), &Address::Unnamed, "it has none yet");
        assert_eq!(real.service.control().local_address(id).unwrap(), Address::Unnamed);
        real.until(|real| !real.log.borrow().is_empty());
        let (server, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), IpAddr::from([127, 0, 0, 2]));
        assert_eq!(real.service.control().peer(id).unwrap(), &there);
        assert_eq!(real.service.control().local_address(id).unwrap(), Address::Ip(from));
        drop(server);
        real.end_of(id);
        assert!(real.service.control().local_address(id).is_err());

        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // It speaks HTTP still.
        let id = real.service.control().serve(listener.accept().unwrap().0).unwrap();
        assert_eq!(real.service.control().peer(id).unwrap(), &Address::Ip(client.local_addr().unwrap()));
        assert_eq!(real.service.control().local_address(id).unwrap(), there);

        let (_ours, theirs) = UnixStream::pair().unwrap();
        let unnamed = real.adopt(theirs);
        let (read, _write) = rustix::pipe::pipe().unwrap();
        let pipe = real.adopt(read);
        for id in [unnamed, pipe] {
            assert_eq!(real.service.control().peer(id).unwrap(), &Address::Unnamed);
            assert_eq!(real.service.control().local_address(id).unwrap(), Address::Unnamed);
        }
    });
}
