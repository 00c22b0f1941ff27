// zlib, for gzip. Nothing needs a shim: what `deflateInit2` hides is called by its own name.
#pragma once

#include <zlib.h>
