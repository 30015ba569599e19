/* A shared library that is no plug-in. */
int BatonSomethingElse(void) { return 0; }
