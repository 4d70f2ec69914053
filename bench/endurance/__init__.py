"""What can happen to runs, caches, files and threads, done hundreds of times: nothing may be lost, changed unnoticed,
executed or opened. Each program counts what went wrong."""
