"""Projects, tasks and jobs, with their labels, frames and issues."""
