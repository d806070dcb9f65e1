/* What every unit test includes: cmocka with the headers that it forgets to ask for. */
#ifndef DIRPIPE_UNIT_H
#define DIRPIPE_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
