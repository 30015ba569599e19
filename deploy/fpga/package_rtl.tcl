# Packages a module of fpga_kernels/rtl as a Vitis kernel of the same name and ports as its HLS twin,
# so that the link config takes either. NEVER RUN: no Vivado was at hand.
#   vivado -mode batch -source package_rtl.tcl -tclargs KERNEL OUT.xo FOLDER SOURCE...
# FOLDER is for what Vivado leaves; it is emptied first.
if {$argc < 4} {
  puts stderr "usage: package_rtl.tcl KERNEL OUT.xo FOLDER SOURCE..."
  exit 2
}
lassign $argv kernel xo folder
set sources [lrange $argv 3 end]

file delete -force $folder $xo
create_project -force package $folder/project
add_files -norecurse $sources
set_property top $kernel [current_fileset]
update_compile_order -fileset sources_1

ipx::package_project -root_dir $folder/ip -vendor baton -library rtl -taxonomy /KernelIP \
  -import_files -set_current false
ipx::unload_core $folder/ip/component.xml
ipx::edit_ip_in_project -upgrade true -name edit -directory $folder/edit $folder/ip/component.xml
set core [ipx::current_core]
set_property sdx_kernel true $core
set_property sdx_kernel_type rtl $core

# The ports are named as AXI streams are: NAME_tdata, NAME_tvalid, NAME_tready.
ipx::infer_bus_interface ap_clk xilinx.com:signal:clock_rtl:1.0 $core
ipx::infer_bus_interface ap_rst_n xilinx.com:signal:reset_rtl:1.0 $core
foreach port [get_property name [ipx::get_ports *_tdata -of_objects $core]] {
  set stream [string range $port 0 end-[string length _tdata]]
  set wires [list $port ${stream}_tvalid ${stream}_tready]
  if {[llength [ipx::get_bus_interfaces $stream -of_objects $core]] == 0} {
    ipx::infer_bus_interface $wires xilinx.com:interface:axis_rtl:1.0 $core
  }
  ipx::associate_bus_interfaces -busif $stream -clock ap_clk $core
}
ipx::associate_bus_interfaces -clock ap_clk -reset ap_rst_n $core

set_property core_revision 1 $core
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity -kernel $core
ipx::save_core $core
close_project -delete

# Runs from its reset on, as its HLS twin: nobody starts it.
package_xo -xo_path $xo -kernel_name $kernel -ip_directory $folder/ip -ctrl_protocol ap_ctrl_none
