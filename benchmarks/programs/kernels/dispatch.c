/* Calls through tables of functions, as objects with virtual methods make them: four classes, in a random order. */
#include "kernels.h"

#define OBJECTS 4096
#define UNIT_PASSES 22

struct shape;

struct methods {
    uint64_t (*area)(const struct shape *);
    void (*grow)(struct shape *, uint64_t);
};

struct shape {
    const struct methods *methods;
    uint64_t width, height;
};

static struct shape shapes[OBJECTS];

static uint64_t rectangle_area(const struct shape *shape) { return shape->width * shape->height; }
static uint64_t triangle_area(const struct shape *shape) { return shape->width * shape->height / 2; }
static uint64_t square_area(const struct shape *shape) { return shape->width * shape->width; }
static uint64_t line_area(const struct shape *shape) { return shape->width & 1; }
static void grow_width(struct shape *shape, uint64_t by) { shape->width += by; }
static void grow_height(struct shape *shape, uint64_t by) { shape->height ^= by; }

static const struct methods classes[] = {
    {rectangle_area, grow_width},
    {triangle_area, grow_height},
    {square_area, grow_width},
    {line_area, grow_height},
};

void dispatch_prepare(void)
{
    uint64_t state = 3;
    for (unsigned i = 0; i < OBJECTS; i++) {
        uint64_t random = next_random(&state);
        shapes[i] = (struct shape){&classes[random >> 62], random >> 20 & 255, random >> 30 & 255};
    }
}

uint64_t dispatch_run(unsigned units)
{
    uint64_t sum = 0;
    dispatch_prepare();
    for (unsigned pass = 0; pass < units * UNIT_PASSES; pass++)
        for (struct shape *shape = shapes; shape < shapes + OBJECTS; shape++) {
            sum += shape->methods->area(shape);
            shape->methods->grow(shape, sum & 7);
        }
    return sum;
}
