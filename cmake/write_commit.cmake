# Run at build time: writes the commit of the source tree ROOT to the header OUTPUT, which keeps its time when nothing changed.

find_program(GIT git)
set(commit)
if(GIT AND EXISTS ${ROOT}/.git) # not the repository of somebody who unpacked a release inside his own
  execute_process(COMMAND ${GIT} -C ${ROOT} describe --always --dirty --abbrev=7 --exclude=*
                  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT commit)
  set(commit unknown)
endif()

set(text "#define SINKSCOPE_COMMIT \"${commit}\"\n")
set(previous)
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} previous)
endif()
if(NOT text STREQUAL previous)
  file(WRITE ${OUTPUT} "${text}")
endif()
