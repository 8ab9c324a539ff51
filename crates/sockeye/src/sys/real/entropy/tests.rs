//! What can be seen within one process; `tests/process` has children.

use std::collections::HashSet;

use super::*;

fn draw<const N: usize>(entropy: &mut Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes).unwrap();
    bytes
}

fn pool(entropy: &mut Entropy) -> &mut Pool {
    entropy.pool.as_mut().unwrap()
}

#[test]
fn keys_are_new_for_each_frame() {
    let mut entropy = Entropy::default();
    let keys: HashSet<[u8; 4]> = (0..10_000).map(|_| draw(&mut entropy)).collect();
    // By the birthday paradox one repeats in 1 % of all runs, and four in less than one of a thousand million.
    assert!(keys.len() > 10_000 - 4, "{} of 10000", keys.len());
    // Each bit is set in about one half of them: fifteen standard deviations are far off.
    for bit in 0..32 {
        let set = keys.iter().filter(|key| u32::from_le_bytes(**key) >> bit & 1 == 1).count();
        assert!((4250..5750).contains(&set), "bit {bit} is set in {set}");
    }
}

#[test]
fn a_thousand_keys_cost_one_system_call() {
    let mut entropy = Entropy::default();
    assert!(entropy.pool.is_none(), "who needs none has none");
    for frame in 1..=10 * 1024 {
        draw::<4>(&mut entropy);
        assert_eq!(pool(&mut entropy).refills, (frame as usize).div_ceil(1024));
    }
    // Large requests leave the pool alone, and what is too little for a small one is not used.
    draw::<65>(&mut entropy);
    draw::<5000>(&mut entropy);
    assert_eq!((pool(&mut entropy).refills, pool(&mut entropy).memory.contents().left), (10, 0));
    draw::<64>(&mut entropy);
    for _ in 0..63 {
        draw::<64>(&mut entropy);
    }
    assert_eq!(pool(&mut entropy).refills, 11);
    draw::<63>(&mut entropy);
    assert_eq!(pool(&mut entropy).memory.contents().left, POOL_BYTES - 63);
    draw::<0>(&mut entropy);
    assert_eq!(pool(&mut entropy).refills, 12);
}

#[test]
fn what_was_drawn_is_erased() {
    let mut entropy = Entropy::default();
    draw::<1>(&mut entropy);
    let before = pool(&mut entropy).memory.contents().bytes;
    let drawn: [u8; 16] = draw(&mut entropy);
    let contents = pool(&mut entropy).memory.contents();
    let end = POOL_BYTES - 1;
    assert_eq!((contents.left, drawn), (end - 16, before[end - 16..end].try_into().unwrap()));
    assert!(contents.bytes[end - 16..].iter().all(|byte| *byte == 0));
    assert_eq!(contents.bytes[..end - 16], before[..end - 16]);
}

#[test]
fn nothing_is_left_for_another_process() {
    let mut entropy = Entropy::default();
    draw::<4>(&mut entropy);
    assert_eq!(pool(&mut entropy).owner.is_none(), cfg!(target_os = "linux"), "Linux clears it, as of 4.14");
    // Where the system does not clear it: another number.
    pool(&mut entropy).owner = Some(process::id() ^ 1);
    draw::<4>(&mut entropy);
    draw::<4>(&mut entropy);
    assert_eq!((pool(&mut entropy).refills, pool(&mut entropy).owner), (2, Some(process::id())));
    // And where it does: zeros.
    let contents = pool(&mut entropy).memory.contents();
    (contents.left, contents.bytes) = (0, [0; POOL_BYTES]);
    assert_ne!(draw::<32>(&mut entropy), [0; 32]);
    assert_eq!(pool(&mut entropy).refills, 3);
}
