// Key presses for what the page offers as buttons anyway: an element with data-key is used when its key is pressed.
"use strict";
