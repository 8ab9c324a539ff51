//! What a subscription takes, by the allocator.

use sockeye::{ConnId, Service, messages};

use super::allocator;
use super::memory::Site;

const CONNECTIONS: usize = 3000;
/// Bytes of a subscription, its topic apart.
const MOST: f64 = 24.0;

pub(crate) fn a_subscription_takes_at_most_24_bytes() {
    let mut site = Site::serving(Service::builder().fallback(messages::echo("news")));
    let peers: Vec<_> = (0..CONNECTIONS).map(|_| site.open_with("")).collect();
    let mut control = site.service.control();
    let ids = control.connection_ids();
    assert_eq!(ids.len(), CONNECTIONS);
    let mut subscribe = |ids: &[ConnId], topic: &str| {
        let before = allocator::bytes_held();
        for id in ids {
            control.connection(*id).unwrap().subscribe(topic).unwrap();
        }
        (allocator::bytes_held() - before) as f64 / ids.len() as f64
    };
    // The first has what a connection takes once. The memory of a topic itself is shared by so many that it hardly counts.
    let figures = [subscribe(&ids, "all"), subscribe(&ids, "all, again")];
    println!("bytes a subscription: {figures:.1?}");
    assert!(figures.iter().all(|bytes| *bytes <= MOST), "{figures:?}");
    drop(peers);
}
