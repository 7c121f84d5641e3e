"""When each product runs: jobs and their schedules."""
