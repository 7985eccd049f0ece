"""The pages, one topic a file; each function says in its `@route` who may use it."""
