//! Mails that become durable and are settled, by 1, 20 and 200 writers at once.

fn main() {
    divan::main();
}
