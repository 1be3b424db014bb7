//! The stacks of the threads beside the main one: found, painted, and read like the main stack.
//!
//! The radio's driver runs in threads of its own, whose stacks esp-rtos takes from the heap; it hands
//! them to nobody, but says to a tracer (rtos-trace) when a thread is created and when it ends. A
//! thread is created with the scheduler locked, its stack allocated first, then the object by whose
//! address the tracer knows it: so the newest block but one is the stack, if the newest is that
//! object. That is painted before the thread runs for the first time. An esp-rtos that allocates in
//! another order would have no threads here: an on-target test sees that.
//!
//! The tracer's other functions are called at every switch from one thread to another, and empty.

#![allow(unsafe_code)]

use core::cell::{Cell, RefCell};

use critical_section::Mutex;
use firmware_wire::StackSample;
use rtos_trace::{RtosTrace, TaskInfo};

use crate::stack::{self, GUARD_BYTES};

/// Threads that are kept in view: beside the main stack, as many as a memory sample has room for.
const THREADS_MAX: usize = 5;

/// Address and size of the two newest blocks of the heap, the newest last.
static NEWEST: Mutex<Cell<[(usize, usize); 2]>> = Mutex::new(Cell::new([(0, 0); 2]));
static THREADS: Mutex<RefCell<Threads>> = Mutex::new(RefCell::new(Threads {
    created: 0,
    alive: heapless::Vec::new(),
}));

struct Threads {
    /// Threads created since boot.
    created: u16,
    alive: heapless::Vec<Thread, THREADS_MAX>,
}

#[derive(Clone, Copy)]
struct Thread {
    /// As the tracer knows it.
    id: u32,
    /// Its number in the order of creation, from 1.
    number: u16,
    /// The lowest address of its stack.
    bottom: usize,
    /// Of its stack, bytes.
    size: usize,
}

/// Notes a block that was just allocated.
#[inline]
pub(crate) fn note_block(address: usize, size: usize) {
    critical_section::with(|cs| {
        let newest = NEWEST.borrow(cs);
        let [_, before] = newest.get();
        newest.set([before, (address, size)]);
    });
}

/// The stacks of the threads, oldest first; named `thread-1` and so on, in the order in which they
/// were created since boot.
pub fn samples() -> heapless::Vec<StackSample, THREADS_MAX> {
    let threads = critical_section::with(|cs| THREADS.borrow_ref(cs).alive.clone());
    threads.iter().map(Thread::sample).collect()
}

impl Thread {
    fn top(&self) -> usize {
        self.bottom + self.size
    }

    /// Paints the stack. esp-rtos keeps a guard word where esp-hal does on the main stack.
    fn paint(&self) {
        // Safety: the stack was just allocated, and its thread, which has not run, has put nothing
        // there yet but the guard, which is left out.
        unsafe { stack::paint_between(self.bottom + GUARD_BYTES, self.top()) };
    }

    fn sample(&self) -> StackSample {
        let mut name = heapless::String::new();
        // Fits.
        let _ = core::fmt::write(&mut name, format_args!("thread-{}", self.number));
        // A thread that ends meanwhile leaves memory that can still be read, and one wrong sample.
        let mark = stack::lowest_used(self.bottom + GUARD_BYTES, self.top());
        StackSample {
            name,
            size: self.size as u32,
            used_max: (self.top() - mark.unwrap_or(self.top())) as u32,
        }
    }
}

struct Tracer;

rtos_trace::global_trace!(Tracer);

impl RtosTrace for Tracer {
    fn task_new(id: u32) {
        critical_section::with(|cs| {
            let [(bottom, size), (object, _)] = NEWEST.borrow(cs).get();
            // The main thread has no object on the heap.
            if object != id as usize || size <= GUARD_BYTES {
                return;
            }
            let mut threads = THREADS.borrow_ref_mut(cs);
            threads.created = threads.created.saturating_add(1);
            let thread = Thread {
                id,
                number: threads.created,
                bottom,
                size,
            };
            thread.paint();
            // One more than there is room for is not seen.
            let _ = threads.alive.push(thread);
        });
    }

    fn task_terminate(id: u32) {
        critical_section::with(|cs| {
            let mut threads = THREADS.borrow_ref_mut(cs);
            threads.alive.retain(|thread| thread.id != id);
        });
    }

    #[inline]
    fn start() {}
    #[inline]
    fn stop() {}
    #[inline]
    fn task_send_info(_: u32, _: TaskInfo) {}
    #[inline]
    fn task_new_stackless(_: u32, _: &'static str, _: u32) {}
    #[inline]
    fn task_exec_begin(_: u32) {}
    #[inline]
    fn task_exec_end() {}
    #[inline]
    fn task_ready_begin(_: u32) {}
    #[inline]
    fn task_ready_end(_: u32) {}
    #[inline]
    fn system_idle() {}
    #[inline]
    fn isr_enter() {}
    #[inline]
    fn isr_exit() {}
    #[inline]
    fn isr_exit_to_scheduler() {}
    #[inline]
    fn name_marker(_: u32, _: &'static str) {}
    #[inline]
    fn marker(_: u32) {}
    #[inline]
    fn marker_begin(_: u32) {}
    #[inline]
    fn marker_end(_: u32) {}
}
