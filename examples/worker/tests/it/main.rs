//! The built program as processes, over a real PostgreSQL and fake panels.
