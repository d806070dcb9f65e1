/* A first password that nobody knows, for services that let no account begin without one. */
#ifndef DIRPIPE_PASSWORD_H
#define DIRPIPE_PASSWORD_H

enum { PASSWORD_LENGTH = 32 };

/* Random, with letters of both cases, digits and symbols, ends in a NUL. The caller wipes it. */
void password_random(char out[PASSWORD_LENGTH + 1]);

#endif
