//! Real components in the real engine: what they may do, and what the mail's fate is when they misbehave.

mod breaking;
mod deliveries;
mod hostile;
mod loading;
mod messages;
mod rig;
