//! The tests that need a process of their own: its children, its descriptors, its memory, and daemons.
//!
//! They run one after another in the only thread of their program: `fork` in a program with threads leaves a child in which
//! little is allowed, and a count of descriptors, numbers or allocations means something only if no other test adds to it.

mod allocations;
mod allocator;
mod compressed;
mod crowd_of_connects;
mod daemon;
mod descriptors;
mod fork;
mod memory;
mod numbers;
mod signals;
mod systemd;
mod tls;
mod topics;
mod uploads;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Runs the function of this path as a test of that name.
macro_rules! tests {
    ($($module:ident :: $test:ident,)*) => {
        [$((concat!(stringify!($module), "::", stringify!($test)), $module::$test as fn())),*]
    };
}

fn main() -> ExitCode {
    if let Some(code) = daemon::play().or_else(memory::play) {
        return code;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    // The forks come first: later tests start threads, which may take a moment to be gone.
    let tests = tests![
        memory::what_a_crowd_held_is_given_back,
        memory::small_blocks_of_a_crowd_are_given_back,
        memory::what_waited_for_a_slow_reader_is_given_back,
        memory::the_heads_of_a_crowd_are_given_back,
        memory::a_page_that_is_not_read_is_not_copied,
        memory::a_hostile_crowd_stays_within_what_may_be_held,
        memory::memory_that_cannot_be_had_ends_a_connection_and_not_the_process,
        fork::a_child_draws_other_bytes_than_its_parent,
        fork::a_child_leaves_its_parents_socket_where_it_is,
        fork::a_child_that_drops_its_copy_does_not_disturb_its_parent,
        signals::a_signal_does_not_end_what_is_watched,
        descriptors::without_descriptors_connecting_fails_at_once,
        descriptors::connections_give_their_descriptors_back,
        descriptors::looking_names_up_gives_its_descriptors_back,
        descriptors::threads_that_do_not_start_leave_nothing,
        numbers::a_number_that_is_given_out_again_is_nobody_elses,
        numbers::what_others_have_is_let_go_and_can_be_adopted_again,
        allocations::an_echoed_message_allocates_nothing,
        topics::a_subscription_takes_at_most_24_bytes,
        topics::a_message_is_framed_once_however_many_get_it,
        topics::a_message_is_compressed_once_however_many_get_it,
        compressed::what_compression_keeps_of_a_connection,
        tls::a_record_is_allocated_once_each_way,
        tls::a_message_of_two_records_is_not_collected_in_a_crowded_turn,
        uploads::a_gigabyte_takes_less_than_a_megabyte,
        daemon::one_that_is_ready,
        daemon::one_that_says_why_not,
        daemon::one_that_says_why_not_and_lives_on_is_ended,
        daemon::one_that_dies_without_a_word,
        daemon::one_that_gives_up_silently_and_lives_on_is_ended,
        daemon::one_that_hangs_is_ended,
        daemon::one_that_hangs_before_it_is_a_daemon_is_ended,
        daemon::one_that_is_stopped_is_ended,
        daemon::nothing_is_left_whenever_the_time_is_over,
        daemon::one_whose_starter_is_killed_ends,
        daemon::one_whose_starter_was_killed_never_begins,
        daemon::a_starter_that_is_stopped_loses_nothing,
        daemon::a_leader_that_is_stopped_is_ended,
        daemon::a_leader_that_is_killed_early_leaves_nothing,
        daemon::a_leader_that_is_killed_late_is_not_missed,
        systemd::sockets_of_the_manager_are_taken_once,
        systemd::a_file_of_the_program_is_not_taken,
        systemd::a_refused_descriptor_leaves_the_others_alone,
        systemd::a_file_among_the_sockets_takes_none_of_them,
        crowd_of_connects::ten_thousand_connects_have_one_outcome_each_and_leave_nothing,
    ];
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}
