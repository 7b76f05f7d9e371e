import { driver } from './lib/sessions.js'

export default () => driver
