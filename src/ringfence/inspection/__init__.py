"""Looking at translated code: proving it safe, listing it, naming it for a profiler."""
