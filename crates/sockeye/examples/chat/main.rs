//! A chat with rooms, names, a history and tokens. The path is the room, and the token says who it is.
//!
//! `cargo run --example chat [ADDRESS]`, then `cargo run -- connect 'ws://127.0.0.1:7681/rooms/lobby?token=secret-of-ann'` in one
//! terminal and the same for `bob` in another. `/to ann hello` whispers.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::{Close, CloseCode, Closed, ClosedCx, Commands, ConnId, Decision, Handshake, Request, Service};

/// Lines that a room keeps for those who come later.
const HISTORY: usize = 50;

#[derive(Default)]
struct Room {
    members: Vec<(ConnId, String)>,
    history: VecDeque<String>,
}

impl Room {
    fn say(&mut self, commands: &mut Commands, line: String) {
        self.members.iter().for_each(|(id, _)| tell(commands, *id, &line));
        self.history.truncate(HISTORY - 1);
        self.history.push_front(line);
    }
}

fn tell(commands: &mut Commands, id: ConnId, line: &str) {
    if let Ok(mut member) = commands.connection(id) {
        let _ = member.push(line); // who reads too slowly misses it
    }
}

/// The rooms, by name. Only those with members exist.
struct Chat(HashMap<String, Room>);

#[derive(Default)]
struct Member {
    name: String,
    room: String,
}

impl Handler for Chat {
    type State = Member;

    fn filter(&mut self, request: &Request<'_>) -> Decision {
        let Some(room) = request.path().strip_prefix("/rooms/").filter(|room| (1..=32).contains(&room.len())) else {
            return Decision::refuse(404, "connect to /rooms/NAME");
        };
        // A page cannot set header fields of its own; a cookie or the query carries the token.
        let token = request.query().and_then(|query| query.strip_prefix("token=secret-of-"));
        match token.filter(|name| (1..=16).contains(&name.len())) {
            Some(name) => Decision::accept().with(Member { name: name.to_owned(), room: room.to_owned() }),
            None => Decision::refuse(401, "connect with ?token=secret-of-NAME"),
        }
    }

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, handshake: &Handshake<'_>) -> Member {
        let member: Member = handshake.take().unwrap_or_default();
        let (id, room) = (cx.id(), self.0.entry(member.room.clone()).or_default());
        for line in room.history.iter().rev() {
            tell(cx, id, line);
        }
        room.members.push((id, member.name.clone()));
        room.say(cx, format!("{} is here", member.name));
        member
    }

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, own: &mut Member, message: Message<'_>) -> Result<(), Close> {
        let (Some(text), Some(room)) = (message.as_text(), self.0.get_mut(&own.room)) else {
            return Err(CloseCode::UNSUPPORTED.into());
        };
        let Some((to, text)) = text.strip_prefix("/to ").and_then(|rest| rest.split_once(' ')) else {
            room.say(cx, format!("{}: {text}", own.name));
            return Ok(());
        };
        for (id, _) in room.members.iter().filter(|(_, name)| name == to) {
            tell(cx, *id, &format!("{} whispers: {text}", own.name));
        }
        Ok(())
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, own: Member, _: Closed) {
        let Some(room) = self.0.get_mut(&own.room) else { return };
        room.members.retain(|(id, _)| *id != cx.id());
        room.say(cx, format!("{} has left", own.name));
        if room.members.is_empty() {
            self.0.remove(&own.room);
        }
    }
}

fn main() -> Result<(), sockeye::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7681".to_owned());
    let chat = messages::with("chat", Chat(HashMap::new()));
    let mut service = Service::builder().protocol(chat).listen(address).build()?;
    println!("listening on ws://{}/rooms/", service.local_addresses()[0]);
    service.run()
}
