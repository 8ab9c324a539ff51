//! Sending the service to another thread.

fn main() {
    let service = sockeye::Service::builder().build().unwrap();
    std::thread::spawn(move || {
        let mut service = service;
        service.run()
    });
}
