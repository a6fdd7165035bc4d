/* spare.h - large buffers, kept when they are given back for whoever asks for as much
 * next.
 *
 * What a tape takes it gives back all at once, and the next one takes the same again. To
 * the system that is memory returned and asked for anew, zeroed page by page: a third of
 * a convolution's time with its gradients. Kept is at most PA_SPARE_BYTES, the youngest.
 * Any thread may call; who finds another one at it goes to the system. */
#ifndef PA_SPARE_H
#define PA_SPARE_H

#include <stddef.h>

enum { PA_SPARE_BYTES = 64 << 20 };

typedef struct pa_spare pa_spare;

pa_spare *pa_spare_new(void); /* NULL: out of memory */
void pa_spare_free(pa_spare *s);

/* pa_alloc and pa_free, of `bytes` both times. */
void *pa_spare_take(pa_spare *s, size_t bytes);
void pa_spare_give(pa_spare *s, void *p, size_t bytes);

#endif
