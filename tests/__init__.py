"""All tests, as a package: so that its rooms do not take the names of libraries (`gradio`)."""
