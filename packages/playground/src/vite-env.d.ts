/** What Vite makes of imports such as `?worker&url`. */
/// <reference types="vite/client" />
