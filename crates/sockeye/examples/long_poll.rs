//! A long poll: GET waits until a note is posted, for half a minute at most.
//!
//! ```text
//! cargo run --example long_poll
//! curl http://127.0.0.1:7681/?after=0 &
//! curl -d hello http://127.0.0.1:7681/
//! ```

use std::time::Duration;

use sockeye::Service;
use sockeye::http::{HttpRequest, Response, Route, Routes};
use sockeye::responder::{RequestCx, Responder, ResponseTx};

/// The notes that were posted; the last thousand of them.
#[derive(Default)]
struct Board {
    first: usize,
    notes: Vec<String>,
}

enum Visit {
    /// Waits for the note of this number.
    Read(usize),
    /// What has come of a note.
    Post(Vec<u8>),
}

impl Board {
    /// The note of that number, or the oldest that is left, and the number that comes next.
    fn note(&self, number: usize) -> Option<Response> {
        let number = number.max(self.first);
        let note = self.notes.get(number - self.first)?;
        Response::text(note.clone()).header("X-Next", (number + 1).to_string()).ok()
    }
}

impl Responder for Board {
    type Session = Visit;

    fn name(&self) -> &str {
        "board"
    }

    fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<Visit, Response> {
        if request.method() == "POST" {
            return Ok(Visit::Post(Vec::new()));
        }
        let after = request.query_value("after").and_then(|after| after.parse().ok());
        let number = after.unwrap_or(self.first + self.notes.len());
        match self.note(number) {
            Some(response) => Err(response), // it is there: answered at once
            None => {
                cx.set_timer(Duration::from_secs(30));
                Ok(Visit::Read(number))
            }
        }
    }

    fn body(&mut self, _: &mut RequestCx<'_>, visit: &mut Visit, piece: &[u8]) -> Option<Response> {
        if let Visit::Post(text) = visit {
            text.extend_from_slice(piece); // at most `Limits::body_bytes`
        }
        None
    }

    fn body_ended(&mut self, cx: &mut RequestCx<'_>, visit: &mut Visit) -> Option<Response> {
        let Visit::Post(text) = visit else { return None };
        self.notes.push(String::from_utf8_lossy(text).into_owned());
        if self.notes.len() > 1000 {
            self.notes.remove(0);
            self.first += 1;
        }
        cx.own_responder().request_writable(); // all that wait
        Some(Response::new(204))
    }

    fn writable(&mut self, _: &mut RequestCx<'_>, visit: &mut Visit, tx: ResponseTx<'_>) {
        if let (Visit::Read(number), Some(permission)) = (visit, tx.head()) {
            if let Some(response) = self.note(*number) {
                permission.respond(response);
            }
        }
    }

    /// Nothing was posted in time.
    fn timer(&mut self, _: &mut RequestCx<'_>, _: &mut Visit) -> Option<Response> {
        Some(Response::new(204))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7681".to_owned());
    let mut builder = Service::builder();
    let board = builder.add_responder(Board::default());
    let routes = Routes::new().responder(Route::path("/").methods(["GET", "POST"]), board);
    let mut service = builder.routes(routes).listen(&*address).build()?;
    println!("listening on http://{}/", service.local_addresses()[0]);
    service.run()?;
    Ok(())
}
