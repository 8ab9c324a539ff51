//! Uploads of up to 1 GiB into a directory, a piece at a time, and downloads of the same files.
//!
//! ```text
//! cargo run --example upload -- /tmp
//! curl -T large.iso http://127.0.0.1:7681/large.iso
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use sockeye::Service;
use sockeye::http::{Files, HttpRequest, Response, Route, Routes};
use sockeye::responder::{RequestClosedCx, RequestCx, RequestEnd, Responder};

struct Store {
    directory: PathBuf,
    files: Files,
}

/// A file that is being received, under a name that no request can have.
struct Upload {
    file: File,
    bytes: u64,
    part: PathBuf,
    whole: PathBuf,
}

impl Responder for Store {
    type Session = Upload;

    fn name(&self) -> &str {
        "store"
    }

    fn request(&mut self, cx: &mut RequestCx<'_>, request: &HttpRequest<'_>) -> Result<Upload, Response> {
        if request.method() != "PUT" {
            return Err(self.files.respond(request, request.path()));
        }
        let name = request.path().strip_prefix('/').unwrap_or_default();
        let is_plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if name.is_empty() || name.starts_with('.') || !is_plain(name) {
            return Err(Response::error(403));
        }
        cx.limits().body_bytes = 1 << 30;
        let part = self.directory.join(format!(".{name}.{}", cx.id().to_string().replace('/', "-")));
        let file = File::create_new(&part).map_err(|_| Response::error(500))?;
        Ok(Upload { file, bytes: 0, part, whole: self.directory.join(name) })
    }

    fn body(&mut self, _: &mut RequestCx<'_>, upload: &mut Upload, piece: &[u8]) -> Option<Response> {
        upload.bytes += piece.len() as u64;
        // On the loop's thread: a program with slow disks gives the pieces to a thread and pauses reading meanwhile.
        upload.file.write_all(piece).err().map(|_| Response::error(507))
    }

    fn body_ended(&mut self, _: &mut RequestCx<'_>, upload: &mut Upload) -> Option<Response> {
        Some(match fs::rename(&upload.part, &upload.whole) {
            Ok(()) => Response::text(format!("{} bytes\n", upload.bytes)).with_status(201),
            Err(_) => Response::error(500),
        })
    }

    fn closed(&mut self, cx: &mut RequestClosedCx<'_>, upload: Upload, end: RequestEnd) {
        println!("{} from {}: {} bytes, {end}", cx.id(), cx.peer(), upload.bytes);
        match fs::remove_file(&upload.part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => eprintln!("{}: {error}", upload.part.display()),
            _ => {} // it has its own name by now, or was not finished
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("usage: upload DIRECTORY [ADDRESS]")?);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7681".to_owned());
    let files = Files::open(&directory)?;
    let mut builder = Service::builder();
    let store = builder.add_responder(Store { directory, files });
    let routes = Routes::new().responder(Route::below("/").methods(["GET", "PUT"]), store);
    let mut service = builder.routes(routes).listen(&*address).build()?;
    println!("listening on http://{}/", service.local_addresses()[0]);
    service.run()?;
    Ok(())
}
